"""Logs as polpo has them (contract/polpo.md §14), over the event log.

A log session is one UTC day of the workspace (`2026-05-21`): every fact that has a word on the surface,
`orchestrator:tick` apart. Further kinds, told apart by the beginning of their names, are contributed by
the apps above: `contribute("run-", RunLogs())` in `ready()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from apps.core.clock import rfc3339
from apps.core.rows import execute
from apps.events import log
from apps.events.words import spoken, told

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.events.log import EventRow

MOST_SESSIONS = 20
MOST_ENTRIES = 1_000
MOST_COUNTED = 10_000  # facts of a day that are looked through for its number of entries
UNLOGGED = frozenset({"orchestrator:tick"})
DAY = timedelta(days=1)

# From the newest fact to the newest one before its day, and so on: an index lookup a day.
_DAYS = """
WITH RECURSIVE days AS (
    (SELECT 1 AS place, date_trunc('day', created_at, 'UTC') AS day FROM events_event
      WHERE workspace_id = %(workspace)s ORDER BY created_at DESC LIMIT 1)
    UNION ALL
    SELECT days.place + 1, date_trunc('day', earlier.created_at, 'UTC') FROM days, LATERAL (
        SELECT created_at FROM events_event
         WHERE workspace_id = %(workspace)s AND created_at < days.day
         ORDER BY created_at DESC LIMIT 1) earlier
     WHERE days.place < %(days)s
)
SELECT days.day, begun.created_at, counted.entries FROM days, LATERAL (
    SELECT created_at FROM events_event
     WHERE workspace_id = %(workspace)s AND created_at >= days.day
     ORDER BY created_at LIMIT 1) begun, LATERAL (
    SELECT count(*) FILTER (WHERE newest.name = ANY(%(names)s)) AS entries FROM (
        SELECT name FROM events_event
         WHERE workspace_id = %(workspace)s AND created_at >= days.day
           AND created_at < days.day + interval '24 hours'
         ORDER BY created_at DESC LIMIT %(counted)s) newest) counted
 ORDER BY days.day DESC
"""


@dataclass(frozen=True, slots=True)
class LogSession:
    """One log. `entries` counts the facts that are told, a day's among its newest 10,000."""

    id: str
    started_at: datetime
    entries: int


class LogSource(Protocol):
    """A further kind of log."""

    def sessions(self, actor: Actor, limit: int) -> list[LogSession]:
        """The newest `limit`."""
        ...

    def entries(self, actor: Actor, session_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` entries, JSON-ready, oldest first; none for an unknown or foreign id."""
        ...


_sources: dict[str, LogSource] = {}


def contribute(prefix: str, source: LogSource) -> None:
    """Logs whose ids begin with `prefix` are that source's. From `ready()`."""
    _sources[prefix] = source


def sessions_of(actor: Actor, surface: str) -> list[LogSession]:
    found = _days(actor, surface)
    for source in _sources.values():
        found += source.sessions(actor, MOST_SESSIONS)
    return sorted(found, key=lambda session: session.started_at, reverse=True)


def entries_of(actor: Actor, surface: str, session_id: str, limit: int) -> list[dict[str, Any]]:
    for prefix, source in _sources.items():
        if session_id.startswith(prefix):
            return source.entries(actor, session_id, limit)
    try:
        day = datetime.strptime(session_id, "%Y-%m-%d").replace(tzinfo=UTC)
        rows = log.log_between(
            actor.workspace_id, day, day + DAY, names=spoken(surface), limit=limit
        )
    except (ValueError, OverflowError):
        return []
    return [entry for row in rows for entry in _entries(surface, row)][-limit:]


def _days(actor: Actor, surface: str) -> list[LogSession]:
    values = {
        "workspace": actor.workspace_id,
        "names": sorted(spoken(surface)),
        "days": MOST_SESSIONS,
        "counted": MOST_COUNTED,
    }
    return [
        LogSession(day.astimezone(UTC).strftime("%Y-%m-%d"), begun, entries)
        for day, begun, entries in execute(_DAYS, values)
        if entries
    ]


def _entries(surface: str, row: EventRow) -> list[dict[str, Any]]:
    moment = rfc3339(row.created_at)
    return [
        {"ts": moment, "event": event, "data": data}
        for event, data in told(surface, row)
        if event not in UNLOGGED
    ]
