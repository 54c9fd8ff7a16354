"""Writing the log: one statement a call, in the caller's transaction, the news after its commit.

TLDR: `publish(actor, FactA(...), FactB(...))` last in a service's transaction. The facts of one call
take consecutive numbers of the workspace. In-transaction subscribers (`subscribe`) run first, and
their failure fails the change. After the commit one nudge goes out (`nudge.py`); a lost nudge costs
a reader at most one heartbeat, never a fact.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from apps.events import nudge
from apps.events.revocation import revoke
from apps.events.subscribers import subscribe, tell_subscribers, unsubscribe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor
    from apps.core.facts import Fact

__all__ = ["NotInTransaction", "publish", "publish_all", "revoke", "subscribe", "unsubscribe"]

# The head row is taken by the same statement that writes the facts, and held until the commit: that
# is what makes commit order and number order the same. `clock_timestamp()` is read after the lock,
# so `created_at` does not run backwards along `seq`.
_HEAD = (
    "WITH head AS (INSERT INTO events_streamhead AS h (workspace_id, seq) VALUES (%s, %s) "
    "ON CONFLICT (workspace_id) DO UPDATE SET seq = h.seq + EXCLUDED.seq RETURNING seq), "
    "written AS (INSERT INTO events_event (workspace_id, seq, name, payload, session_id, run_id, "
    "subject_type, subject_id, actor_kind, user_id, request_id, created_at) "
    "SELECT %s, head.seq - fact.behind, fact.name, fact.payload, fact.session_id, fact.run_id, "
    "fact.subject_type, fact.subject_id, %s, %s::uuid, %s, clock_timestamp() FROM head, (VALUES "
)
_ROW = "(%s::bigint, %s, %s::jsonb, %s::uuid, %s::uuid, %s, %s::uuid)"
MOST_FACTS = 1_000
_TAIL = (
    ") AS fact (behind, name, payload, session_id, run_id, subject_type, subject_id)) "
    "SELECT seq FROM head"
)


class NotInTransaction(RuntimeError):
    """`publish` outside a transaction: the change and its fact could part."""


def publish(actor: Actor, *facts: Fact) -> int:
    """Append `facts` to the actor's workspace's log; returns the last number given.

    Must run inside a transaction (`NotInTransaction`). Taken last in a service: whoever holds the head
    row makes every other writer of the workspace wait.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction("publish() needs a transaction")
    if not 0 < len(facts) <= MOST_FACTS:
        raise ValueError(f"publish() takes 1 to {MOST_FACTS} facts")
    for fact in facts:
        tell_subscribers(actor, fact)
    seq = _append(actor, facts)
    sessions = {
        session_id: seq - behind
        for behind, fact in zip(range(len(facts) - 1, -1, -1), facts, strict=True)
        if (session_id := getattr(fact, "session_id", None)) is not None
    }
    # A lambda: Django's robust hooks log `func.__qualname__`, which a partial does not have.
    transaction.on_commit(lambda: nudge.committed(actor.workspace_id, seq, sessions), robust=True)
    return seq


def publish_all(actor: Actor, facts: Sequence[Fact]) -> None:
    """As `publish`, for as many facts as there are: none, or the thousands that a mission makes."""
    for start in range(0, len(facts), MOST_FACTS):
        publish(actor, *facts[start : start + MOST_FACTS])


def _append(actor: Actor, facts: tuple[Fact, ...]) -> int:
    count = len(facts)
    workspace = actor.workspace_id
    values: list[Any] = [
        workspace,
        count,
        workspace,
        actor.kind.value,
        actor.user_id,
        actor.request_id,
    ]
    for place, fact in enumerate(facts, 1):
        values += (count - place, *_columns(fact))
    with connection.cursor() as cursor:
        cursor.execute(_statement(count), values)
        row = cursor.fetchone()
    return int(row[0])


@cache
def _statement(count: int) -> str:
    return _HEAD + ", ".join([_ROW] * count) + _TAIL


def _columns(fact: Fact) -> tuple[Any, ...]:
    kind, field = fact.subject
    return (
        fact.name,
        json.dumps(fact.payload(), separators=(",", ":"), default=str),
        getattr(fact, "session_id", None),
        getattr(fact, "run_id", None),
        kind,
        getattr(fact, field, None) if field else None,
    )
