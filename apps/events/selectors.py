"""Reading the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.actor import Scope
from apps.events import logs
from apps.events.log import (
    MOST_ROWS,
    EventRow,
    complete_with,
    heads,
    log_after,
    log_end,
    oldest_kept,
)

if TYPE_CHECKING:
    from typing import Any
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.events.logs import LogSession

MOST_LATEST = 10_000  # facts shown at once: a formation's log (contract/muxi.md §3.7)

__all__ = ["EventRow", "complete_with", "events_after", "head", "latest_events", "oldest"]


def events_after(
    actor: Actor, seq: int, *, session_id: UUID | None = None, limit: int = MOST_ROWS
) -> list[EventRow]:
    """The workspace's facts after `seq`, oldest first; `session_id` narrows to one conversation."""
    return log_after(actor.workspace_id, seq, session_id=session_id, limit=limit)


def latest_events(
    actor: Actor, *, session_id: UUID | None = None, limit: int = 100
) -> list[EventRow]:
    """The last facts of the workspace, or of one of its conversations, oldest first."""
    actor.need(Scope.READ)
    return log_end(actor.workspace_id, session_id=session_id, limit=min(limit, MOST_LATEST))


def head(actor: Actor) -> int:
    """The workspace's last number; 0 before the first fact."""
    return heads([actor.workspace_id]).get(actor.workspace_id, 0)


def oldest(actor: Actor) -> int:
    """The oldest number still kept; head + 1 when nothing is."""
    return oldest_kept(actor.workspace_id)


def list_log_sessions(actor: Actor, *, surface: str) -> list[LogSession]:
    """The newest logs, newest first: days of the workspace, and what other apps contribute."""
    return logs.sessions_of(actor, surface)


def list_log_entries(
    actor: Actor, session_id: str, *, surface: str, limit: int = logs.MOST_ENTRIES
) -> list[dict[str, Any]]:
    """The newest `limit` entries of a log, oldest first; an unknown log has none."""
    return logs.entries_of(actor, surface, session_id, min(limit, logs.MOST_ENTRIES))
