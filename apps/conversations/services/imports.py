"""Conversations that took place elsewhere (contract/polpo.md §4)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.services import record_change
from apps.conversations.events import SessionCreated
from apps.conversations.models import Message, Session
from apps.core.actor import Scope
from apps.core.ids import uuid7
from apps.core.rows import insert
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from apps.core.actor import Actor

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
                user_id=session.user_id if message["role"] == "user" else None,
                created_at=last,
            )
        )
    return rows
