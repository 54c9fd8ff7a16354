"""Named sweepers over all workspaces: lost nudges, silent or overdue attempts, deadlines, leftovers.

Every look is one bounded query; every act is a transaction of its own that looks again under the
task's lock, since what was seen may have changed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import DomainError
from apps.core.queue import enqueue
from apps.core.rows import execute
from apps.tasks.services import refresh_ready
from apps.tasks.services.moving import DISPATCH
from apps.tasks.services.watching import (
    recover_task,
    stop_overdue,
    stop_silent,
    warn_of_deadline,
    warn_of_silence,
)
from apps.workspaces.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

log = logging.getLogger(__name__)
BATCH = 200  # tasks one sweep acts on
MOST_WORKSPACES = 1_000
GRACE = 10.0  # seconds after an attempt's time in which the engine ends it by itself
WARN_AT = 0.8  # of the time between creation and deadline (contract/polpo.md §18)

# A loose index scan: one probe of `task_queue` a workspace, however many tasks are ready.
_READY = """WITH RECURSIVE found AS (
    (SELECT workspace_id FROM tasks_task WHERE ready ORDER BY workspace_id LIMIT 1)
    UNION ALL
    SELECT (SELECT workspace_id FROM tasks_task WHERE ready AND workspace_id > found.workspace_id
             ORDER BY workspace_id LIMIT 1)
      FROM found WHERE found.workspace_id IS NOT NULL)
SELECT workspace_id FROM found WHERE workspace_id IS NOT NULL LIMIT %s"""

# `idle` since the last step, the start, or the last change of the task (it was woken); `used` as the
# engine counts it: the steps' own time, so that waiting for a human is not work.
_AT_WORK = """SELECT t.workspace_id, t.id, t.run_id, t.warned_at IS NOT NULL, seen.idle, seen.stale,
       seen.used + seen.idle > (r.limits->>'seconds')::numeric + %(grace)s
  FROM runs_run r
  JOIN tasks_task t ON t.workspace_id = r.workspace_id AND t.id = r.subject_id AND t.run_id = r.id
  JOIN workspaces_workspace w ON w.id = r.workspace_id
 CROSS JOIN LATERAL (SELECT coalesce(sum(extract(epoch FROM s.finished_at - s.started_at)), 0) AS used,
              extract(epoch FROM now() - greatest(max(s.finished_at), r.started_at, t.updated_at)) AS idle,
              CASE WHEN jsonb_typeof(w.settings->'stale_threshold') = 'number'
                   THEN (w.settings->>'stale_threshold')::numeric ELSE %(stale)s END / 1000 AS stale
         FROM runs_step s WHERE s.workspace_id = r.workspace_id AND s.run_id = r.id) AS seen
 WHERE r.status = 'running' AND r.kind = 'task' AND r.cancel_requested_at IS NULL
   AND t.status = 'in_progress'
   AND (seen.used + seen.idle > (r.limits->>'seconds')::numeric + %(grace)s
        OR seen.idle > 2 * seen.stale OR (seen.idle > seen.stale AND t.warned_at IS NULL))
 ORDER BY r.lease_until LIMIT %(batch)s"""

_STALE_READY = """SELECT t.workspace_id, t.id FROM tasks_task t
 WHERE t.status = 'pending' AND NOT t.ready AND cardinality(t.held_by) = 0
   AND NOT EXISTS (SELECT 1 FROM unnest(t.depends_on) AS need(id) WHERE NOT EXISTS (
        SELECT 1 FROM tasks_task n WHERE n.workspace_id = t.workspace_id AND n.id = need.id
           AND n.status = 'done'))
 ORDER BY t.updated_at LIMIT %s"""

_LEFT_ALONE = """SELECT t.workspace_id, t.id FROM tasks_task t
 WHERE t.status IN ('assigned', 'in_progress') AND NOT EXISTS (SELECT 1 FROM runs_run r
       WHERE r.workspace_id = t.workspace_id AND r.id = t.run_id
         AND r.status IN ('queued', 'running', 'waiting')) LIMIT %s"""

_DEADLINES = """SELECT workspace_id, id FROM tasks_task
 WHERE deadline IS NOT NULL AND status NOT IN ('done', 'failed')
   AND ((sla = '' AND now() >= created_at + (deadline - created_at) * %s)
        OR (sla <> 'missed' AND now() >= deadline))
 ORDER BY deadline LIMIT %s"""


def wake_dispatchers() -> int:
    """Workspaces with ready tasks: the nudge may have been lost, or a place become free."""
    found = execute(_READY, [MOST_WORKSPACES])
    for (workspace_id,) in found:
        enqueue(DISPATCH, workspace_id=workspace_id)
    return len(found)


def watch_attempts() -> int:
    """Attempts over their time or silent for too long; how many it warned of or stopped."""
    stale = Preferences().stale_threshold
    found = execute(_AT_WORK, {"grace": GRACE, "stale": stale, "batch": BATCH})
    done = 0
    for workspace_id, task_id, run_id, warned, idle, threshold, overdue in found:
        idle_ms = round(float(idle) * 1000)
        if overdue:
            done += _act(stop_overdue, workspace_id, task_id, run_id)
        elif idle > 2 * threshold:
            done += _act(stop_silent, workspace_id, task_id, run_id, idle_ms=idle_ms)
        elif not warned:
            done += _act(warn_of_silence, workspace_id, task_id, run_id, idle_ms=idle_ms)
    return done


def mend_readiness() -> int:
    """Pending tasks that nothing holds back any more, though they are not marked ready."""
    stale: dict[UUID, list[UUID]] = defaultdict(list)
    for workspace_id, task_id in execute(_STALE_READY, [BATCH]):
        stale[workspace_id].append(task_id)
    return sum(_refresh(workspace_id, ids) for workspace_id, ids in stale.items())


@transaction.atomic
def _refresh(workspace_id: UUID, task_ids: list[UUID]) -> int:
    return refresh_ready(Actor.for_system(workspace_id), task_ids)


def recover_lost() -> int:
    """Tasks at work whose run is gone: queued again, no retry burned."""
    return sum(_act(recover_task, *row) for row in execute(_LEFT_ALONE, [BATCH]))


def watch_deadlines() -> int:
    """Deadlines that near or have passed are news, once each."""
    return sum(_act(warn_of_deadline, *row) for row in execute(_DEADLINES, [WARN_AT, BATCH]))


def _act(
    verb: Callable[..., bool], workspace_id: UUID, task_id: UUID, *run: UUID, **said: Any
) -> bool:
    """Each by itself: one that cannot be helped must not keep the others."""
    try:
        return verb(Actor.for_system(workspace_id), task_id, *run, **said)
    except DomainError:
        return False  # it ended meanwhile
    except Exception:
        log.exception("task %s could not be looked after; the next sweep tries again", task_id)
        return False
