"""How conversations look on the polymux surface (contract/polymux.md §4.3, §4.5, §11)."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast

from apps.conversations.models import SessionStatus
from apps.core.clock import rfc3339
from apps.core.ids import session_wire_id, wire_id

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.conversations.models import Attachment, Message, Session


# What `session_json` reads of a row, besides the metadata.
SESSION_COLUMNS = (
    "id", "workspace_id", "workflow_id", "user_id", "title", "status", "end_reason", "browser_mode",
    "humanize", "cloaked", "position", "token_budget", "tokens_used", "created_at", "updated_at",
    "ended_at",
)  # fmt: skip


def session_rows(sessions: QuerySet[Session]) -> QuerySet[Session, Any]:
    """`sessions` as named tuples for a list: they cost a third of model instances.

    The metadata comes as text: it is nearly always `{}`, and parsing it costs a tenth of a page.
    """
    text = Cast("metadata", TextField())
    return sessions.annotate(metadata_text=text).values_list(
        *SESSION_COLUMNS, "metadata_text", named=True
    )


def session_row_json(row: Any, *, base: str = "") -> dict[str, Any]:
    """The session object of a row of `session_rows`."""
    metadata = json.loads(row.metadata_text) if row.metadata_text != "{}" else {}
    return session_json(row, base=base, metadata=metadata)


@lru_cache(maxsize=64)
def socket_origin(base: str) -> str:
    """`wss://host` of the public address, else of the one the client used; empty when neither is known."""
    base = settings.PUBLIC_URL or base
    scheme, _, host = base.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{host.rstrip('/')}" if host else ""


def session_json(
    session: Session, *, base: str = "", metadata: dict[str, str] | None = None
) -> dict[str, Any]:
    """The session object of §4.3; `base` is the origin the client spoke to.

    Without a known address (a frame made once for all
    sockets) `websocket_url` is only the path.
    """
    running = session.status == SessionStatus.RUNNING
    wire = session_wire_id(session.workspace_id, session.id)
    return {
        "id": wire,
        "workspace_id": wire_id("ws", session.workspace_id),
        "workflow_id": wire_id("wf", session.workflow_id) if session.workflow_id else None,
        "user_id": wire_id("usr", session.user_id) if session.user_id else None,
        "title": session.title,
        "status": session.status,
        "end_reason": session.end_reason or None,
        "is_draft": False,
        "is_running": running,
        "running_kind": "chat" if running else None,
        "browser_mode": session.browser_mode,
        "humanize": session.humanize,
        "cloaked": session.cloaked,
        "position": session.position,
        "last_browser_states": [],
        "token_budget": session.token_budget,
        "tokens_used": session.tokens_used,
        "metadata": session.metadata if metadata is None else metadata,
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
        "ended_at": rfc3339(session.ended_at),
        "websocket_url": f"{socket_origin(base)}/session/{wire}/",
    }


def message_json(message: Message) -> dict[str, Any]:
    """The message object of §4.5."""
    return {
        "id": str(message.wire_id),
        "session_id": session_wire_id(message.workspace_id, message.session_id),
        "role": message.role,
        "agent_id": None if message.agent_key == "orchestrator" else message.agent_key,
        "content": message.content,
        "metadata": message.metadata
        | ({} if message.state == "complete" else {"state": message.state}),
        "created_at": rfc3339(message.created_at),
    }


def attachment_json(attachment: Attachment) -> dict[str, Any]:
    return {
        "id": wire_id("file", attachment.pk),
        "name": attachment.name,
        "size": attachment.size,
        "mime_type": attachment.mime_type,
        "created_at": rfc3339(attachment.created_at),
    }
