"""How conversations look on the polymux surface (contract/polymux.md §4.3, §4.5, §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.conversations.models import SessionStatus
from apps.core.clock import rfc3339
from apps.core.ids import session_wire_id, wire_id

if TYPE_CHECKING:
    from apps.conversations.models import Attachment, Message, Session


def socket_url(session: Session, base: str = "") -> str:
    """`wss://…/session/{id}/` on the public address, else on the one the client used.

    Where neither is known (a frame made once for all sockets) only the path.
    """
    path = f"/session/{session_wire_id(session.workspace_id, session.pk)}/"
    base = settings.PUBLIC_URL or base
    if not base:
        return path
    scheme = "wss" if base.startswith("https://") else "ws"
    host = base.partition("://")[2].rstrip("/")
    return f"{scheme}://{host}{path}"


def session_json(session: Session, *, base: str = "") -> dict[str, Any]:
    """The session object of §4.3; `base` is the origin the client spoke to."""
    running = session.status == SessionStatus.RUNNING
    return {
        "id": session_wire_id(session.workspace_id, session.pk),
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
        "metadata": session.metadata,
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
        "ended_at": rfc3339(session.ended_at),
        "websocket_url": socket_url(session, base),
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
