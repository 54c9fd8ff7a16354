"""Clearing buffers: what was said stays in the transcript and leaves the next turn's context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from apps.accounts.audit import record_change
from apps.conversations.events import BufferCleared
from apps.conversations.models import Session
from apps.core.actor import Scope
from apps.core.rows import execute
from apps.events.services import publish

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

# Up to the newest message there is: one that is being posted is stamped later, and stays.
_CLEAR = """WITH said AS (
  SELECT s.id, count(*) FILTER (WHERE m.role IN ('user', 'assistant')) AS messages,
         max(m.created_at) AS newest
    FROM conversations_session s
    JOIN conversations_message m ON m.workspace_id = s.workspace_id AND m.session_id = s.id
     AND m.created_at > coalesce(s.buffer_cleared_at, '-infinity')
   WHERE s.workspace_id = %(workspace)s AND s.id = ANY(%(sessions)s) GROUP BY s.id)
UPDATE conversations_session s SET buffer_cleared_at = said.newest FROM said
 WHERE s.workspace_id = %(workspace)s AND s.id = said.id RETURNING said.messages"""


@dataclass(frozen=True, slots=True)
class Cleared:
    sessions: int
    messages: int


@transaction.atomic
def clear_buffers(actor: Actor, end_user: str | None, *, session_id: UUID | None = None) -> Cleared:
    """Of one end user's conversations, or of everybody's (None); `session_id`: of this one of them.

    A turn under way has read its context already.
    """
    actor.need(Scope.WRITE)
    rows = Session.objects.in_workspace(actor.workspace_id).filter(deleted_at__isnull=True)
    asked = {"end_user": end_user, "pk": session_id}
    chosen = rows.filter(**{name: value for name, value in asked.items() if value is not None})
    # Locked in one order: two who clear at once count each message once, and never wait in a ring.
    ids = list(chosen.order_by("id").select_for_update().values_list("pk", flat=True))
    cleared = execute(_CLEAR, {"workspace": actor.workspace_id, "sessions": ids})
    done = Cleared(len(cleared), sum(messages for (messages,) in cleared))
    shown = {"end_user": end_user, "sessions": done.sessions, "messages": done.messages}
    record_change(actor, "buffer.cleared", "memory", session_id or end_user or "*", after=shown)
    publish(actor, BufferCleared(end_user=end_user, session_count=done.sessions))
    return done


def adopt_sessions(actor: Actor, identifier: str, muxi_user_id: str) -> None:
    """The conversations under another name of an end user are theirs.

    Where they have one that is called the same, the other goes on under its own id.
    """
    actor.need(Scope.WRITE)
    execute(_ADOPT, {"workspace": actor.workspace_id, "old": identifier, "new": muxi_user_id})
    execute(
        _ADOPT_REQUESTS, {"workspace": actor.workspace_id, "old": identifier, "new": muxi_user_id}
    )


_ADOPT = """UPDATE conversations_session s SET end_user = %(new)s, external_key = CASE
    WHEN EXISTS (SELECT 1 FROM conversations_session o WHERE o.workspace_id = s.workspace_id
      AND o.source = s.source AND o.end_user = %(new)s AND o.external_key = s.external_key)
    THEN '' ELSE external_key END
 WHERE s.workspace_id = %(workspace)s AND s.end_user = %(old)s"""
_ADOPT_REQUESTS = """UPDATE conversations_turnrequest r SET end_user = %(new)s
 WHERE r.workspace_id = %(workspace)s AND r.end_user = %(old)s
   AND NOT EXISTS (SELECT 1 FROM conversations_turnrequest o WHERE o.workspace_id = r.workspace_id
     AND o.end_user = %(new)s AND o.name = r.name)"""
