"""How turns, conversations and requests look to an end user's application (contract/muxi.md §5.5-5.6).

Where the contract is silent: what is called `…_at` is RFC 3339, `timestamp` and `last_activity` are
seconds; `progress` is 0 or 100.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from apps.conversations.models import SessionStatus
from apps.core.clock import now, rfc3339
from apps.runs.models import TERMINAL, RunStatus
from apps.surfaces.muxi_formation import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from apps.conversations.carried import News
    from apps.conversations.models import Message, Session, TurnRequest
    from apps.core.errors import DomainError
    from apps.engine.ports import Outcome

STATUSES = {
    RunStatus.QUEUED: "pending",
    RunStatus.RUNNING: "processing",
    RunStatus.WAITING: "awaiting_clarification",
    RunStatus.SUCCEEDED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
LONGEST_ERROR = 200  # characters of an error in a stream, on one line
KEEP_ALIVE = b": keepalive\n\n"
DONE = b'event: done\ndata: {"finished": true}\n\n'


# --- One turn -------------------------------------------------------------------------------------
def reply_json(text: str, session_id: str, agent: str, request_id: str) -> dict[str, Any]:
    """The `message` of a chat's answer."""
    return {
        "role": "assistant",
        "content": text,
        "artifacts": None,
        "metadata": {"session_id": session_id, "request_id": request_id, "agent_id": agent},
    }


def chat_json(outcome: Outcome, about: About) -> dict[str, Any]:
    return {
        "message": reply_json(outcome.text, about.session_id, about.agent, about.request_id),
        "user_id": about.user_id,
        "session_id": about.session_id,
        "request_id": about.request_id,
    }


class About:
    """Of which turn a stream or an answer speaks. `user_id` as the caller said it."""

    __slots__ = ("agent", "request_id", "session_id", "user_id")

    def __init__(self, request_id: str, session_id: str, user_id: str, agent: str = "") -> None:
        self.request_id, self.session_id = request_id, session_id
        self.user_id, self.agent = user_id, agent


def accepted_json(request_id: str, webhook_url: str) -> dict[str, Any]:
    """What is told of a turn that will be done later."""
    told = {
        "request_id": request_id,
        "status": "processing",
        "message": "The request is being processed.",
    }
    if webhook_url:
        return told | {"delivery": "webhook", "webhook_url": webhook_url}
    return told | {"delivery": "polling", "poll_url": f"/v1/requests/{request_id}"}


def error_frame(error: DomainError) -> bytes:
    """`event: error`: words on one line, and the code."""
    words = " ".join(error.message.split())[:LONGEST_ERROR]
    code = code_of(error)
    return frame({"error": words, "type": code, "code": code}, event="error")


def frame(data: Any, *, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


class TextFrames:
    """The seed's form: `data: {"token": "text"}` … `event: done`."""

    def opening(self) -> bytes:
        return KEEP_ALIVE

    def piece(self, news: News) -> bytes:
        """Tool calls are not told in this form."""
        if not isinstance(news, str):
            return b""
        return b'data: {"token": ' + json.dumps(news).encode() + b"}\n\n"

    def closing(self, outcome: Outcome) -> bytes:
        return DONE


class ObjectFrames(TextFrames):
    """Events: `data: {"token": {"type": …, "content": …}}`, then `event: done`."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._began = time.monotonic()
        self._is_chosen = False

    def opening(self) -> bytes:
        return KEEP_ALIVE + self.event("progress", "Processing the request.", stage="init")

    def piece(self, news: News) -> bytes:
        first = b"" if self._is_chosen else self._chosen()
        if isinstance(news, str):
            return first + self.event("content", news, stage="response_generation")
        return first + self.event("tool_call", str(news.get("name", "")), **_call(news))

    def _chosen(self) -> bytes:
        self._is_chosen = True
        agent = self._about.agent
        said = {"stage": "agent_selected", "agent_name": agent}
        return self.event("progress", f"{agent} answers.", **said)

    def closing(self, outcome: Outcome) -> bytes:
        took = (time.monotonic() - self._began) * 1000
        done = {"status": "success", "processing_time_ms": round(took, 1)}
        last = self.event("completed", outcome.text, **done, agent_used=self._about.agent)
        return (b"" if self._is_chosen else self._chosen()) + last + DONE

    def event(self, kind: str, content: str, **extra: Any) -> bytes:
        return frame({"token": event_json(self._about, kind, content, **extra)})


def event_json(about: About, kind: str, content: str, **extra: Any) -> dict[str, Any]:
    """One event of a turn (contract §5.5): `timestamp` in seconds."""
    return {
        "request_id": about.request_id,
        "user_id": about.user_id,
        "session_id": about.session_id,
        "type": kind,
        "content": content,
        "timestamp": time.time(),
        **extra,
    }


def _call(news: dict[str, Any]) -> dict[str, Any]:
    return {"tool_call_id": news.get("id"), "tool_name": news.get("name"), "state": news["state"]}


# --- Conversations --------------------------------------------------------------------------------
def session_json(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.external_key,
        "user_id": session.end_user,
        "last_activity": session.last_active_at.timestamp(),
        "active": session.status != SessionStatus.ENDED,
    }


def one_session_json(session: Session, count: int) -> dict[str, Any]:
    return session_json(session) | {
        "message_count": count,
        "created_at": rfc3339(session.created_at),
    }


class Place(NamedTuple):
    """Where a conversation is: the formation, and the agent that it is with."""

    formation: str
    agent: str | None


def messages_json(
    rows: Sequence[Message], session: Session, place: Place, names: Mapping[UUID, str]
) -> list[dict[str, Any]]:
    """`names`: run -> request."""
    return [_message_json(row, session, place, names) for row in rows]


def _message_json(
    row: Message, session: Session, place: Place, names: Mapping[UUID, str]
) -> dict[str, Any]:
    moment = row.created_at.timestamp()
    brought = row.metadata.get("restored") or {}
    answered = place.agent if row.role == "assistant" else None
    metadata = {
        **(brought.get("metadata") or {}),
        "role": row.role,
        "timestamp": moment,
        "agent_id": brought.get("agent_id") or answered,
        "user_id": session.end_user,
        "session_id": session.external_key,
        "request_id": names.get(row.run_id) if row.run_id else None,
        "formation_id": place.formation,
    }
    return {
        "id": str(row.wire_id),
        "text": row.content,
        "metadata": metadata,
        "timestamp": moment,
        "namespace": "buffer",
        "embedding": None,
    }


def restored(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message that an application brings back, as it is stored: its own words stay apart from ours."""
    moment = message.get("timestamp")
    own = {name: message[name] for name in ("agent_id", "metadata") if message.get(name)}
    return {
        "role": message["role"],
        "content": message["content"],
        "ts": moment and min(moment, now()),  # what is said next comes after it
        "metadata": {"restored": own} if own else {},
    }


def restored_json(session_id: str, loaded: int, dropped: int) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "messages_loaded": loaded,
        "messages_dropped": dropped,
        "message": f"Restored {loaded} messages.",
    }


# --- Requests -------------------------------------------------------------------------------------
def request_json(request: TurnRequest) -> dict[str, Any]:
    run = request.run
    told = {
        "request_id": request.name,
        "user_id": request.end_user,
        "session_id": request.session.external_key,
        "status": STATUSES[run.status],
        "progress": 100 if run.status in TERMINAL else 0,
        "created_at": rfc3339(request.created_at),
        "completed_at": rfc3339(run.finished_at),
    }
    if run.status == RunStatus.FAILED:
        told["error"] = run.error_message or run.error_code
    return told


def one_request_json(request: TurnRequest, reply: Message | None) -> dict[str, Any]:
    """With the `result` of one that was completed."""
    told = request_json(request)
    if request.run.status != RunStatus.SUCCEEDED or reply is None:
        return told
    return told | {"result": {"role": "assistant", "content": reply.content}}


def cancelled_json(name: str, *, ended: bool) -> dict[str, Any]:
    """`ended`: it has stopped; else it stops after the step it is in."""
    return {
        "request_id": name,
        "status": "cancelled",
        "cancellation": "immediate" if ended else "cooperative",
        "message": "The request was cancelled." if ended else "The request is being cancelled.",
    }
