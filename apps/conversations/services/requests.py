"""Turns that are accepted now and done later, as an end user's application asks for them by name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.conversations.asked import (
    attached,
    named_files,
    names_request,
    need_rest,
    request_row,
)
from apps.conversations.continuing import REOPENED
from apps.conversations.errors import (
    RequestIdTaken,
    RequestOver,
    SessionEnded,
    SessionPaused,
    TurnInProgress,
)
from apps.conversations.events import MessagePosted, SessionCreated
from apps.conversations.models import Message, MessageRole, SessionStatus, TurnRequest
from apps.conversations.selectors import get_request
from apps.conversations.services.sessions import lock_session
from apps.conversations.services.turns import cancel_turns, lock_turns, start_turn
from apps.core.actor import Scope
from apps.core.ids import uuid7
from apps.core.rows import insert
from apps.events.services import publish
from apps.runs.budgets import cap_session
from apps.runs.errors import RunFinishedAlready
from apps.runs.models import RunStatus
from apps.runs.services import cancel_run

if TYPE_CHECKING:
    from apps.conversations.inline import InlineTurn
    from apps.core.actor import Actor


KEPT = timedelta(days=7)
SWEEP_BATCH = 1_000


def accept_turn(actor: Actor, turn: InlineTurn) -> TurnRequest:
    """Store what is said, and queue the turn that answers it; a turn that rests is interrupted.

    Raises TurnInProgress, SessionPaused, SessionEnded, RequestIdTaken.
    """
    actor.need(Scope.WRITE)
    try:
        return _accept(actor, turn)
    except IntegrityError as error:
        raise (RequestIdTaken if names_request(error) else TurnInProgress) from None


@transaction.atomic
def _accept(actor: Actor, turn: InlineTurn) -> TurnRequest:
    assert turn.asked is not None
    if turn.makes_room:
        turn.makes_room()
    if turn.is_new:
        _open_session(actor, turn)
    else:
        _lock_resting(actor, turn)
    message = _message(actor, turn)
    insert(message, *turn.files)
    run = start_turn(actor, turn.session, agent_id=turn.agent.pk, run_input=turn.marks)
    request = request_row(turn.session, run.pk, turn.asked)
    insert(request)
    publish(actor, _posted(message), *map(attached, turn.files))
    return request


def _open_session(actor: Actor, turn: InlineTurn) -> None:
    session = turn.session
    session.status = SessionStatus.IDLE
    insert(session)
    cap_session(actor, session.pk, turn.preferences)
    publish(
        actor, SessionCreated(session_id=session.pk, title=session.title, source=session.source)
    )


def _lock_resting(actor: Actor, turn: InlineTurn) -> None:
    """The session, locked and ready for another turn; one that has ended goes on."""
    session = turn.session
    now = lock_session(actor, session.pk)
    if now.status == SessionStatus.PAUSED:
        raise SessionPaused
    if now.status == SessionStatus.ENDED and now.source not in REOPENED:
        raise SessionEnded
    need_rest(lock_turns(actor, session.pk), accepted=True)
    cancel_turns(actor, session.pk, reason="interrupted")
    session.end_reason, session.ended_at = "", None
    session.agent_id = session.agent_id or turn.agent.pk
    session.save(update_fields=["agent", "end_reason", "ended_at"])


def _message(actor: Actor, turn: InlineTurn) -> Message:
    row_id = uuid7()
    return Message(
        id=row_id,
        workspace_id=actor.workspace_id,
        session_id=turn.session.pk,
        wire_id=row_id,
        role=MessageRole.USER,
        content=turn.said,
        metadata=named_files(turn.files),
        user_id=actor.user_id,
        created_at=timezone.now(),
    )


def _posted(message: Message) -> MessagePosted:
    return MessagePosted(
        session_id=message.session_id,
        message_id=message.pk,
        role=message.role,
        agent_key=message.agent_key,
    )


def cancel_request(actor: Actor, end_user: str | None, name: str) -> tuple[TurnRequest, bool]:
    """Stop the turn. True: it has ended; False: it ends within one step.

    `end_user` None: anybody's. Again is the same as once. Raises RequestNotFound, RequestOver.
    """
    request = get_request(actor, end_user, name)
    if request.run.status == RunStatus.CANCELLED:
        return request, True
    try:
        run = cancel_run(actor, request.run_id, reason="cancelled by its application")
    except RunFinishedAlready:
        request.run.refresh_from_db(fields=["status"])
        if request.run.status != RunStatus.CANCELLED:
            raise RequestOver(f"The request has {request.run.status} already.") from None
        return request, True
    return request, run.status == RunStatus.CANCELLED


def forget_requests() -> int:
    """Sweeper: requests older than a week, and what their webhooks were told. Bounded."""
    old = TurnRequest.unscoped.filter(created_at__lt=timezone.now() - KEPT).order_by("created_at")
    ids = list(old.values_list("pk", flat=True)[:SWEEP_BATCH])
    return TurnRequest.unscoped.filter(pk__in=ids).delete()[0]
