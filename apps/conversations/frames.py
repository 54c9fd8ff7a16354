"""From facts and tokens to the frames of §11.3-11.5 of contract/polymux.md, in both dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apps.events.frames import Chunk
    from apps.events.selectors import EventRow
    from apps.events.socket import Frame

AGENT = "orchestrator"


def translate_row(row: EventRow) -> Sequence[Frame]:
    """The frames of one fact; empty when a session's client need not hear of it."""
    tell = TELLERS.get(row.name)
    return tell(row) if tell else ()


def translate_tokens(chunk: Chunk) -> Sequence[Frame]:
    """A partial message: `content` is a delta of the message that will have this id."""
    payload = {
        "message_id": str(chunk.run_id),
        "role": "assistant",
        "agent_id": AGENT,
        "content": chunk.text,
        "is_partial": True,
    }
    return [("message", payload)]


def _message(row: EventRow) -> Sequence[Frame]:
    message = row.payload.get("message")
    return [("message", message)] if message else ()  # none: edited away meanwhile


def _state(row: EventRow) -> Sequence[Frame]:
    state = row.payload.get("state")
    return [("session_state", state)] if state else ()


def _tool_call(row: EventRow) -> Sequence[Frame]:
    said = row.payload
    payload = {
        "call_id": said["call_id"],
        "agent_id": said["agent_key"],
        "name": said["tool"],
        "arguments": said["arguments"],
        "started_at": said["started_at"],
    }
    return [("tool_call", payload)]


def _tool_result(row: EventRow) -> Sequence[Frame]:
    said = row.payload
    payload = {
        "call_id": said["call_id"],
        "agent_id": said["agent_key"],
        "name": said["tool"],
        "status": said["status"],
        "duration_ms": said["duration_ms"],
        "finished_at": said["finished_at"],
    }
    payload["error" if said["status"] == "error" else "result"] = (
        said["error"] if said["status"] == "error" else said["result"]
    )
    return [("tool_result", payload)]


def _viewport(row: EventRow) -> Sequence[Frame]:
    """Only what is said: absent fields are left out."""
    said = {k: v for k, v in row.payload.items() if v is not None and k != "session_id"}
    return [("viewport", said)]


def _approval(row: EventRow) -> Sequence[Frame]:
    request = row.payload.get("request")
    return [("approval_request", request)] if request else ()


def _decided(row: EventRow) -> Sequence[Frame]:
    said = row.payload
    return [
        (
            "approval_decided",
            {
                "msg_id": said["approval_id"],
                "status": said.get("status", row.name.partition(".")[2]),
            },
        )
    ]


def _run_ended(row: EventRow) -> Sequence[Frame]:
    """Success needs no word of its own: the whole message has come."""
    said = row.payload
    if said["status"] != "failed":
        return ()
    code = (
        "TOKEN_BUDGET_EXCEEDED" if said["error_code"] == "budget_exceeded" else said["error_code"]
    )
    payload = {
        "code": code.upper(),
        "message": said["error_message"] or "The turn failed.",
        "recoverable": True,
        "agent_id": AGENT,
    }
    return [("error", payload)]


def _session_ended(row: EventRow) -> Sequence[Frame]:
    reason = row.payload["end_reason"]
    ended: Frame = ("session_ended", {"end_reason": reason})
    if reason == "idle_timeout":
        return [("session_expired", {"reason": reason, "idle_duration": None}), ended]
    return [ended]


def _removed(row: EventRow) -> Sequence[Frame]:
    said = row.payload
    return [("messages_removed", {"from_message_id": said["from_message_id"]})]


TELLERS: dict[str, Callable[[EventRow], Sequence[Frame]]] = {
    "message.posted": _message,
    "messages.replaced": _removed,
    "session.changed": _state,
    "run.started": _state,
    "tool.called": _tool_call,
    "tool.returned": _tool_result,
    "viewport.changed": _viewport,
    "approval.requested": _approval,
    "approval.decided": _decided,
    "approval.expired": _decided,
    "approval.withdrawn": _decided,
    "run.ended": _run_ended,
    "session.ended": _session_ended,
}


# --- The dashboard's dialect (§11.4) ----------------------------------------------------------------
def translate_dashboard(frames: Sequence[Frame]) -> list[Frame]:
    """The documented frames by the names the web dashboard listens to."""
    return [renamed for kind, payload in frames for renamed in _dashboard(kind, payload)]


def _dashboard(kind: str, payload: dict[str, Any]) -> list[Frame]:
    if kind == "message":
        return _agent_message(payload)
    if kind == "tool_call":
        said = {"agent_id": payload["agent_id"], "action": f"tool:{payload['name']}", "detail": ""}
        return [("agent_thinking", said)]
    if kind == "tool_result":
        return []
    return [(kind, payload)]


def _agent_message(payload: dict[str, Any]) -> list[Frame]:
    """There a final frame's text is appended to the partials, so it comes empty and ends the turn."""
    if payload["role"] != "assistant":
        return [("message", payload)]
    said = {"agent_id": payload["agent_id"], "is_partial": payload["is_partial"]}
    if payload["is_partial"]:
        return [("agent_message", said | {"content": payload["content"]})]
    return [("agent_message", said | {"content": "", "message_id": payload["message_id"]})]
