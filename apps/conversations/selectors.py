"""Reads on conversations. A deleted session is absent everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count

from apps.conversations.errors import AttachmentNotFound, MessageNotFound, SessionNotFound
from apps.conversations.models import Attachment, Message, MessageRole, Session, SessionStatus
from apps.core.prepared import prepared
from apps.core.rows import execute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime, timedelta
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor
    from apps.core.prepared import Prepared


SPOKEN = (MessageRole.USER, MessageRole.ASSISTANT)


def visible(actor: Actor) -> QuerySet[Session]:
    """The sessions this actor may see: the workspace's, or the one its session token is for."""
    return _sessions(actor.workspace_id, actor.session_id)


def _sessions(
    workspace_id: UUID,
    session_id: UUID | None,
    status: str | None = None,
    workflow_id: UUID | None = None,
) -> QuerySet[Session]:
    sessions = Session.objects.in_workspace(workspace_id).filter(deleted_at__isnull=True)
    asked = {"pk": session_id, "status": status, "workflow_id": workflow_id}
    return sessions.filter(**{name: value for name, value in asked.items() if value})


def get_session(actor: Actor, session_id: UUID) -> Session:
    """The session, or SessionNotFound (absent, deleted and foreign alike)."""
    session = visible(actor).filter(pk=session_id).first()
    if session is None:
        raise SessionNotFound
    return session


def find_by_external_key(actor: Actor, source: str, key: str) -> Session | None:
    return visible(actor).filter(source=source, external_key=key).first()


# By hand, as it stands before every turn of a polpo client: Django's compiler took 1.5 ms of it.
_NEWEST = """SELECT id, user_id, token_id, agent_id, title, status, source
  FROM conversations_session
 WHERE workspace_id = %(workspace)s AND source = 'polpo' AND status = 'idle' AND deleted_at IS NULL
   AND updated_at > now() - %(within)s AND agent_id = %(agent)s
   AND CASE WHEN %(user)s::uuid IS NULL THEN token_id = %(token)s ELSE user_id = %(user)s END
   AND id <> ALL (%(but)s)
 ORDER BY updated_at DESC LIMIT 1"""


def newest_resting(
    actor: Actor, agent_id: UUID, *, within: timedelta, but: Collection[UUID] = ()
) -> Session | None:
    """The caller's newest idle conversation of polpo's with that agent, changed `within` that time.

    `but`: not these. With the columns a turn needs.
    """
    if actor.session_id is not None:
        return None
    wanted = {
        "workspace": actor.workspace_id,
        "within": within,
        "agent": agent_id,
        "user": actor.user_id,
        "token": actor.token_id,
        "but": list(but),
    }
    for row in execute(_NEWEST, wanted):
        columns = ("id", "user_id", "token_id", "agent_id", "title", "status", "source")
        return Session(workspace_id=actor.workspace_id, **dict(zip(columns, row, strict=True)))
    return None


def list_by_change(actor: Actor) -> QuerySet[Session]:
    """The one changed last comes first."""
    return visible(actor).order_by("-updated_at", "-id")


def list_sessions(
    actor: Actor, *, status: str | None = None, workflow_id: UUID | None = None
) -> Prepared:
    """The sessions this actor may see; choose columns and page it."""
    return prepared(
        _sessions,
        workspace_id=actor.workspace_id,
        session_id=actor.session_id,
        status=status or None,
        workflow_id=workflow_id,
    )


def active_sessions(token_id: UUID) -> int:
    """How many sessions this credential holds open, in whatever workspace (contract §1.5)."""
    held = Session.unscoped.filter(token_id=token_id).exclude(status=SessionStatus.ENDED)
    return held.exclude(source="polpo").count()  # those are opened without being asked for


def list_messages(
    actor: Actor, session_id: UUID, *, agent_key: str | None = None
) -> QuerySet[Message]:
    """A session's transcript; raises SessionNotFound."""
    get_session(actor, session_id)
    messages = Message.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return messages.filter(agent_key=agent_key) if agent_key else messages


def spoken(actor: Actor, session_id: UUID, *, limit: int) -> list[Message]:
    """The newest `limit` messages that a person or an agent said, oldest first; SessionNotFound."""
    rows = list_messages(actor, session_id).filter(role__in=SPOKEN)
    return list(reversed(rows.order_by("-created_at", "-id")[:limit]))


def counts_of(actor: Actor, sessions: Collection[UUID]) -> dict[UUID, int]:
    """Session -> how much was said in it; those in which nothing was are left out. One query."""
    rows = Message.objects.in_workspace(actor.workspace_id).filter(role__in=SPOKEN)
    counted = rows.filter(session_id__in=sessions).order_by().values("session_id")
    return dict(counted.annotate(said=Count("pk")).values_list("session_id", "said"))


def find_message(actor: Actor, session_id: UUID, wire_id: UUID) -> Message | None:
    messages = Message.objects.in_workspace(actor.workspace_id)
    return messages.filter(session_id=session_id, wire_id=wire_id).first()


def get_message(actor: Actor, session_id: UUID, wire_id: UUID) -> Message:
    message = find_message(actor, session_id, wire_id)
    if message is None:
        raise MessageNotFound
    return message


def messages_by_id(workspace_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Message]:
    """Rows for the live stream: one query for a batch of facts."""
    wanted = list(ids)
    if not wanted:
        return {}
    return {row.pk: row for row in Message.objects.in_workspace(workspace_id).filter(pk__in=wanted)}


def recent_messages(
    workspace_id: UUID, session_id: UUID, *, limit: int = 400, before: datetime | None = None
) -> list[Message]:
    """The newest `limit` messages (older than `before`), oldest first: what a turn reads as its history."""
    rows = Message.objects.in_workspace(workspace_id).filter(session_id=session_id)
    if before:
        rows = rows.filter(created_at__lt=before)
    return list(reversed(rows.order_by("-created_at", "-id")[:limit]))


def list_attachments(actor: Actor, session_id: UUID) -> QuerySet[Attachment]:
    get_session(actor, session_id)
    return Attachment.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)


def get_attachment(actor: Actor, session_id: UUID, file_id: UUID) -> Attachment:
    row = list_attachments(actor, session_id).filter(pk=file_id).first()
    if row is None:
        raise AttachmentNotFound
    return row
