"""The buffer of a conversation: what of it the next turn reads (contract/muxi.md §5.7).

Its newest messages that a person or an agent said, since it was cleared. Clearing takes nothing from the
transcript, which people and auditors go on reading: it moves `Session.buffer_cleared_at`, behind which
`selectors.recent_messages` does not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.conversations.models import Session
from apps.core.actor import Scope
from apps.core.rows import execute

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor

MOST_LISTED = 1_000
SIZE, MULTIPLIER = 50, 10  # of `memory.buffer`, where a formation does not say (contract §6)
MOST_SIZE = 100_000
# By the transcript's index, and no further back in a conversation than its buffer goes.
_BUFFERS = """SELECT s.id, s.external_key, s.end_user, b.messages, b.bytes, b.newest
  FROM conversations_session s CROSS JOIN LATERAL (
    SELECT count(*) AS messages, coalesce(sum(octet_length(m.content)), 0) AS bytes,
           max(m.created_at) AS newest
      FROM (SELECT content, created_at FROM conversations_message
             WHERE workspace_id = s.workspace_id AND session_id = s.id
               AND created_at > coalesce(s.buffer_cleared_at, '-infinity')
               AND role IN ('user', 'assistant')
             ORDER BY created_at DESC, id DESC LIMIT %(size)s) m) b
 WHERE s.workspace_id = %(workspace)s AND s.deleted_at IS NULL AND b.messages > 0
   AND (%(user)s::text IS NULL OR s.end_user = %(user)s)"""
# Put together from constants only.
_LISTED = f"{_BUFFERS} ORDER BY b.newest DESC, s.id LIMIT %(most)s"
_TOTALS = f"""SELECT count(*), coalesce(sum(messages), 0), coalesce(sum(bytes), 0),
       count(DISTINCT end_user) FROM ({_BUFFERS}) buffers"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Buffer:
    """One conversation's. `newest`: when the last of its messages was said."""

    session: Session
    messages: int
    bytes: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    sessions: int
    messages: int
    bytes: int
    users: int


def list_buffers(actor: Actor, end_user: str | None, *, size: int) -> list[Buffer]:
    """The buffers of one end user's conversations, or of everybody's; the newest first, no empty ones.

    `size`: how many messages a buffer holds.
    """
    actor.need(Scope.READ)
    rows = execute(_LISTED, _asked(actor, end_user, size) | {"most": MOST_LISTED})
    return [
        Buffer(_session(actor, session_id, key, user), messages, int(size), newest)
        for session_id, key, user, messages, size, newest in rows
    ]


def total_buffers(actor: Actor, end_user: str | None, *, size: int) -> Totals:
    """Their sum. One query."""
    actor.need(Scope.READ)
    ((sessions, messages, size_, users),) = execute(_TOTALS, _asked(actor, end_user, size))
    return Totals(sessions, int(messages), int(size_), users)


def buffer_size(memory: object) -> int:
    """How many messages a conversation's buffer holds, by a formation's `memory` block."""
    said = memory.get("buffer") if isinstance(memory, dict) else None
    block = said if isinstance(said, dict) else {}
    size, times = block.get("size", SIZE), block.get("multiplier", MULTIPLIER)
    sound = all(type(number) is int and number > 0 for number in (size, times))
    return min(size * times, MOST_SIZE) if sound else SIZE * MULTIPLIER


def _asked(actor: Actor, end_user: str | None, size: int) -> dict[str, object]:
    return {"workspace": actor.workspace_id, "user": end_user, "size": size}


def _session(actor: Actor, session_id: UUID, external_key: str, end_user: str) -> Session:
    """With the columns by which it is called."""
    return Session(
        id=session_id,
        workspace_id=actor.workspace_id,
        external_key=external_key,
        end_user=end_user,
    )
