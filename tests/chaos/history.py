"""What is known at the end: what was promised, what the tool and the reader saw, what the tables say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

_MISSIONS = """SELECT id::text, name, status, execution_count AS executions,
    coalesce((report->>'allPassed')::boolean, false) AS passed FROM missions_mission"""
_TASKS = """SELECT t.id::text, m.name AS mission, t.title, t.status, t.retries, t.attempts,
    t.depends_on::text[] AS needs,
    t.result->>'stdout' AS said FROM tasks_task t JOIN missions_mission m ON m.id = t.mission_id"""
_RUNS = """SELECT r.id::text, r.subject_id::text AS task, r.kind, r.status, r.lease_owner AS owner,
    r.lease_until IS NOT NULL AS leased, r.attempt, r.lost_leases AS lost,
    r.waiting_for IS NOT NULL AS waits, r.error_code AS error,
    r.reserved_tokens + r.reserved_cost_micros + r.reserved_tool_calls AS reserved,
    r.started_at AS began, r.finished_at AS ended,
    (SELECT array_agg(s.index::int ORDER BY s.index) FROM runs_step s WHERE s.run_id = r.id) AS steps
    FROM runs_run r"""
_QUESTIONS = "SELECT count(*) FROM approvals_approval WHERE status = 'pending'"
_LOG = """SELECT e.seq, e.name, e.payload->>'task_id' AS task, e.payload->>'before' AS before,
    e.payload->>'after' AS after, e.payload->>'mission_id' AS mission
    FROM events_event e WHERE e.workspace_id = %s ORDER BY e.seq"""
_HEAD = "SELECT seq FROM events_streamhead WHERE workspace_id = %s"


@dataclass
class History:
    """Rows as plain named tuples (or anything with the same attributes: the checker's own tests do that)."""

    promised: Sequence[str] = ()
    shape: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missions: Sequence[Any] = ()
    tasks: Sequence[Any] = ()
    runs: Sequence[Any] = ()
    questions: int = 0
    log: Sequence[Any] = ()
    head: int = 0
    calls: Sequence[Any] = ()  # of the tool: key, effect
    heard: Sequence[Any] = ()  # of the stream: id, event, data
    gaps: Sequence[str] = ()
    odd: Sequence[str] = ()  # answers that no fault explains


def read_tables(url: str, workspace: str, history: History) -> History:
    """Fill in what the database says, seen at one moment."""
    with psycopg.connect(url, row_factory=namedtuple_row) as link:
        link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        history.missions = link.execute(_MISSIONS).fetchall()
        history.tasks = link.execute(_TASKS).fetchall()
        history.runs = link.execute(_RUNS).fetchall()
        history.questions = link.execute(_QUESTIONS).fetchall()[0][0]
        history.log = link.execute(_LOG, [workspace]).fetchall()
        history.head = link.execute(_HEAD, [workspace]).fetchall()[0][0]
    return history
