"""Posting messages: the twin of the `user_message` frame (contract/polymux.md §4.4, §4.5, §11.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from apps.conversations.errors import (
    AttachmentNotFound,
    EmptyMessage,
    MessageIdTaken,
    SessionEnded,
)
from apps.conversations.events import MessagePosted, MessagesReplaced
from apps.conversations.models import (
    REPLACED,
    Attachment,
    Message,
    MessageRole,
    Session,
    SessionStatus,
)
from apps.conversations.selectors import find_message, get_message
from apps.conversations.services.turns import answer_question, cancel_turns, start_turn
from apps.core.actor import Actor, Scope
from apps.core.errors import InvalidInput
from apps.core.ids import uuid7
from apps.core.rows import insert
from apps.events.services import publish
from apps.runs.models import Run

if TYPE_CHECKING:
    from uuid import UUID

MAX_CONTENT = 100_000
MAX_ATTACHMENTS = 20


@transaction.atomic
def post_message(
    actor: Actor,
    session_id: UUID,
    *,
    content: str,
    message_id: UUID | None = None,
    attachments: list[dict[str, Any]] | None = None,
    agent_key: str = "orchestrator",
    replaces_message_id: UUID | None = None,
) -> Message:
    """Store a user's message and start its turn; a turn under way is interrupted.

    The same `message_id` twice returns the first row. Paused: stored, answered on resume. A question
    the agent asked is answered by it. Raises SessionNotFound, SessionEnded, MessageIdTaken,
    InvalidInput.
    """
    from apps.conversations.services.sessions import lock_session

    actor.need(Scope.WRITE)
    session = lock_session(actor, session_id)
    if message_id and (known := _posted_before(actor, session_id, message_id)):
        return known
    if session.status == SessionStatus.ENDED:
        raise SessionEnded
    if replaces_message_id:
        _cut_from(actor, session, replaces_message_id)
    return add_user_message(
        actor,
        session,
        content=content,
        message_id=message_id,
        attachments=attachments,
        agent_key=agent_key,
    )


def _posted_before(actor: Actor, session_id: UUID, message_id: UUID) -> Message | None:
    """What this id was posted with. MessageIdTaken when it is a turn's, as clients see it while it runs.

    A turn's reply is stored under the turn's id. Who locked the session sees every turn it has; a turn
    to come cannot get an id that a client chose before, since its 62 random bits are drawn here.
    """
    known = find_message(actor, session_id, message_id)
    if known is not None and known.role == MessageRole.USER:
        return known
    turns = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    if known is not None or turns.filter(pk=message_id).exists():
        raise MessageIdTaken
    return None


def add_user_message(
    actor: Actor,
    session: Session,
    *,
    content: str,
    message_id: UUID | None = None,
    attachments: list[dict[str, Any]] | None = None,
    agent_key: str = "orchestrator",
) -> Message:
    """The message's row on a locked (or new) session, and the turn that answers it."""
    _check_content(content)
    files = _checked_attachments(actor, session, attachments or [])
    starts = session.status != SessionStatus.PAUSED and not answer_question(actor, session, content)
    if starts:  # before the message's own time: what it cuts short stands before it
        cancel_turns(actor, session.pk, reason="interrupted")
    row_id = uuid7()
    message = Message(
        id=row_id,
        workspace_id=actor.workspace_id,
        session_id=session.pk,
        wire_id=message_id or row_id,
        role=MessageRole.USER,
        content=content,
        agent_key=agent_key,
        metadata={"attachments": files} if files else {},
        user_id=actor.user_id,
        created_at=timezone.now(),
    )
    insert(message)
    if starts:
        start_turn(actor, session)
    publish(
        actor,
        MessagePosted(
            session_id=session.pk, message_id=row_id, role=message.role, agent_key=agent_key
        ),
    )
    return message


def _check_content(content: str) -> None:
    if not content.strip():
        raise EmptyMessage(fields={"content": ["This field may not be blank."]})
    if len(content) > MAX_CONTENT:
        raise InvalidInput(fields={"content": [f"At most {MAX_CONTENT} characters."]})
    if "\x00" in content:
        raise InvalidInput(fields={"content": ["NUL characters are not allowed."]})


def _checked_attachments(
    actor: Actor, session: Session, attachments: list[dict[str, Any]]
) -> list[dict[str, str]]:
    """`[{id, name}]` naming files of this session; an unknown one refuses the message."""
    if len(attachments) > MAX_ATTACHMENTS:
        raise InvalidInput(fields={"attachments": [f"At most {MAX_ATTACHMENTS} files."]})
    wanted = [item["id"] for item in attachments]
    files = Attachment.objects.in_workspace(actor.workspace_id).filter(
        session_id=session.pk, pk__in=wanted
    )
    found = {row.pk: row.name for row in files} if wanted else {}
    if len(found) != len(set(wanted)):
        raise AttachmentNotFound
    return [{"id": str(file_id), "name": found[file_id]} for file_id in wanted]


def _cut_from(actor: Actor, session: Session, wire_id: UUID) -> None:
    """Edit and resend: that message and everything after it leave the transcript."""
    first = get_message(actor, session.pk, wire_id)
    cancel_turns(actor, session.pk, reason=REPLACED)
    rows = Message.objects.in_workspace(actor.workspace_id).filter(
        session_id=session.pk, created_at__gte=first.created_at
    )
    removed, _ = rows.exclude(created_at=first.created_at, pk__lt=first.pk).delete()
    publish(
        actor, MessagesReplaced(session_id=session.pk, from_message_id=wire_id, removed=removed)
    )
