"""Conversations that took place elsewhere (contract/polpo.md §4)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.services import record_change
from apps.conversations.errors import TurnInProgress
from apps.conversations.events import MessagesReplaced, SessionCreated
from apps.conversations.models import MUXI, Message, Session
from apps.conversations.selectors import find_by_external_key
from apps.conversations.services.sessions import lock_session
from apps.conversations.services.turns import lock_turns
from apps.core.actor import Scope
from apps.core.ids import uuid7
from apps.core.rows import insert
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact

TITLE_LENGTH = 60
SOURCE = "polpo"


@transaction.atomic
def import_session(
    actor: Actor, *, agent_id: UUID, messages: Sequence[dict[str, Any]], title: str = ""
) -> Session:
    """A session with `messages` (`role`, `content`, and `ts` where it is known) in their order.

    Without a title: the beginning of what the user said first. Publishes SessionCreated.
    """
    actor.need(Scope.WRITE)
    said = next((m["content"].strip() for m in messages if m["role"] == "user"), "")
    session = Session(
        workspace_id=actor.workspace_id,
        user_id=actor.user_id,
        token_id=actor.token_id,
        agent_id=agent_id,
        source=SOURCE,
        title=title or said[:TITLE_LENGTH] or "Imported",
        position=time.time(),
    )
    insert(session, *_rows(session, messages))
    after = {"title": session.title, "messages": len(messages)}
    record_change(actor, "session.imported", "session", session.pk, after=after)
    publish(
        actor, SessionCreated(session_id=session.pk, title=session.title, source=session.source)
    )
    return session


@transaction.atomic
def restore_session(
    actor: Actor,
    *,
    end_user: str,
    key: str,
    messages: Sequence[dict[str, Any]],
) -> Session:
    """An end user's conversation as its application remembers it: `messages` replace what was said.

    Each with `role`, `content`, `ts` and `metadata` where there is some. It comes into being where
    there is none of that name. Raises TurnInProgress.
    """
    actor.need(Scope.WRITE)
    known = find_by_external_key(actor, MUXI, key, end_user=end_user)
    facts: list[Fact] = []
    if known is None:
        session = _conversation(actor, end_user, key, messages)
        insert(session)
        facts.append(
            SessionCreated(session_id=session.pk, title=session.title, source=session.source)
        )
    else:
        session = lock_session(actor, known.pk)
        facts += _emptied(actor, session)
    if messages:
        insert(*_rows(session, messages))
    record_change(
        actor, "session.restored", "session", session.pk, after={"messages": len(messages)}
    )
    if facts:
        publish(actor, *facts)
    return session


def _conversation(
    actor: Actor, end_user: str, key: str, messages: Sequence[dict[str, Any]]
) -> Session:
    said = next((m["content"].strip() for m in messages if m["role"] == "user"), "")
    return Session(
        workspace_id=actor.workspace_id,
        source=MUXI,
        external_key=key,
        end_user=end_user,
        title=said[:TITLE_LENGTH] or "Restored",
        position=time.time(),
    )


def _emptied(actor: Actor, session: Session) -> list[Fact]:
    """Nothing was said in the locked session; refused while something is being said."""
    if lock_turns(actor, session.pk):
        raise TurnInProgress
    rows = Message.objects.in_workspace(actor.workspace_id).filter(session_id=session.pk)
    first = rows.order_by("created_at", "id").values_list("wire_id", flat=True).first()
    removed, _ = rows.delete()
    session.save(update_fields=["updated_at"])
    if first is None:
        return []
    return [MessagesReplaced(session_id=session.pk, from_message_id=first, removed=removed)]


def _rows(session: Session, messages: Sequence[dict[str, Any]]) -> list[Message]:
    """Their order is the one they were given in: where the times say otherwise, the times give way."""
    rows, last = [], None
    first = timezone.now() - timedelta(milliseconds=len(messages))
    for place, message in enumerate(messages):
        moment = message.get("ts") or first + timedelta(milliseconds=place)
        last = moment if last is None else max(moment, last + timedelta(microseconds=1))
        row_id = uuid7()
        rows.append(
            Message(
                id=row_id,
                workspace_id=session.workspace_id,
                session_id=session.pk,
                wire_id=row_id,
                role=message["role"],
                content=message["content"],
                metadata=message.get("metadata") or {},
                user_id=session.user_id if message["role"] == "user" else None,
                created_at=last,
            )
        )
    return rows
