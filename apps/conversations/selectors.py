"""Reads on conversations. A deleted session is absent everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, F, Q

from apps.conversations.errors import (
    AttachmentNotFound,
    MessageNotFound,
    RequestNotFound,
    SessionNotFound,
)
from apps.conversations.models import (
    MUXI,
    Attachment,
    Message,
    MessageRole,
    Session,
    SessionStatus,
    TurnRequest,
)
from apps.core.actor import Scope
from apps.core.prepared import prepared
from apps.core.rows import execute
from apps.runs.models import TERMINAL

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


def find_by_external_key(
    actor: Actor, source: str, key: str, *, end_user: str = ""
) -> Session | None:
    """The conversation that is called so there; of that end user, where the surface has such."""
    known = visible(actor).filter(source=source, end_user=end_user, external_key=key)
    return known.first()


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
    """The newest `limit` messages (older than `before`), oldest first: what a turn reads as its history.

    Nothing from before its buffer was cleared.
    """
    cleared = Q(created_at__lte=F("session__buffer_cleared_at"))
    rows = Message.objects.in_workspace(workspace_id).filter(session_id=session_id).exclude(cleared)
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


# --- What belongs to an end user of a formation ----------------------------------------------------
def list_of_end_user(
    actor: Actor, end_user: str, *, active_only: bool = False, limit: int
) -> list[Session]:
    """That user's conversations, the one spoken in last first."""
    actor.need(Scope.READ)
    rows = visible(actor).filter(end_user=end_user).exclude(end_user="")
    if active_only:
        rows = rows.exclude(status=SessionStatus.ENDED)
    return list(rows.order_by("-last_active_at", "-id")[:limit])


def get_of_end_user(actor: Actor, end_user: str, key: str) -> Session:
    """That user's conversation of this name; SessionNotFound, for another user's too."""
    actor.need(Scope.READ)
    session = find_by_external_key(actor, MUXI, key, end_user=end_user) if end_user else None
    if session is None:
        raise SessionNotFound
    return session


def find_told_session(actor: Actor, end_user: str | None, key: str) -> Session:
    """As `get_of_end_user`; for everybody's (None) the one of that name that was spoken in last."""
    if end_user is not None:
        return get_of_end_user(actor, end_user, key)
    actor.need(Scope.READ)
    named = visible(actor).filter(source=MUXI, external_key=key).exclude(end_user="")
    session = named.order_by("-last_active_at").first()
    if session is None:
        raise SessionNotFound
    return session


def page_of_messages(
    actor: Actor, session_id: UUID, *, limit: int, before: datetime | None = None
) -> tuple[list[Message], bool]:
    """What was said last (before then), oldest first; and whether there is more before it."""
    rows = list_messages(actor, session_id).exclude(role=MessageRole.TOOL)
    if before:
        rows = rows.filter(created_at__lt=before)
    found = list(rows.order_by("-created_at", "-id")[: limit + 1])
    return list(reversed(found[:limit])), len(found) > limit


def list_requests(actor: Actor, end_user: str | None, *, limit: int) -> list[TurnRequest]:
    """That user's requests (None: everybody's), newest first, each with its run."""
    return list(_requests(actor, end_user).order_by("-created_at", "-id")[:limit])


def get_request(actor: Actor, end_user: str | None, name: str) -> TurnRequest:
    """The newest of that name, with its run; RequestNotFound, for another user's too."""
    request = _requests(actor, end_user).filter(name=name).order_by("-created_at", "-id").first()
    if request is None:
        raise RequestNotFound
    return request


def _requests(actor: Actor, end_user: str | None) -> QuerySet[TurnRequest]:
    actor.need(Scope.READ)
    rows: QuerySet[TurnRequest] = TurnRequest.objects.in_workspace(actor.workspace_id)
    mine = rows if end_user is None else rows.filter(end_user=end_user)
    return mine.select_related("run__agent", "session")


def is_over(actor: Actor, request: TurnRequest) -> bool:
    """Whether the turn has ended, as it is now."""
    return get_request(actor, request.end_user, request.name).run.status in TERMINAL


def request_names(actor: Actor, run_ids: Collection[UUID]) -> dict[UUID, str]:
    """Run -> the name its request was asked for by. One query, none for no runs."""
    if not run_ids:
        return {}
    rows = TurnRequest.objects.in_workspace(actor.workspace_id).filter(run_id__in=run_ids)
    return dict(rows.values_list("run_id", "name"))


@dataclass(frozen=True, slots=True)
class ToldTurn:
    """A turn as an end user's application knows it."""

    request_id: str
    agent: str


@dataclass(frozen=True, slots=True)
class ToldSession:
    """Whose conversation it is, and what they call it."""

    end_user: str
    key: str


def told_turns(actor: Actor, run_ids: Collection[UUID]) -> dict[UUID, ToldTurn]:
    """Run -> how it is told of. One query, none for no runs."""
    if not run_ids:
        return {}
    rows = _requests(actor, None).filter(run_id__in=run_ids)
    found = rows.values_list("run_id", "name", "run__agent__name")
    return {run_id: ToldTurn(name, agent or "") for run_id, name, agent in found}


def told_sessions(actor: Actor, session_ids: Collection[UUID]) -> dict[UUID, ToldSession]:
    """Session -> how it is told of; those of no end user are left out. One query, none for none."""
    if not session_ids:
        return {}
    rows = visible(actor).filter(pk__in=session_ids).exclude(end_user="")
    found = rows.values_list("pk", "end_user", "external_key")
    return {pk: ToldSession(end_user, key) for pk, end_user, key in found}


def reply_of(actor: Actor, request: TurnRequest) -> Message | None:
    """What the turn answered, under the run's id; None before its end, or where it said nothing."""
    return find_message(actor, request.session_id, request.run_id)
