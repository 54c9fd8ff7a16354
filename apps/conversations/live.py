"""`ws /session/{session_id}/`: a conversation live (contract/polymux.md §11)."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.conversations import selectors, services
from apps.conversations.api.polymux import NewMessage
from apps.conversations.errors import SessionEnded, SessionNotFound
from apps.conversations.frames import translate_dashboard, translate_row, translate_tokens
from apps.conversations.models import SessionStatus
from apps.conversations.snapshot import opening_state
from apps.core.actor import Scope
from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.core.ids import parse_session_id, session_wire_id
from apps.events.errors import BadFrame
from apps.events.socket import Context, Frame, LiveSocket
from apps.surfaces import polymux
from apps.surfaces.kit import Admission, Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from apps.conversations.models import Session
    from apps.core.actor import Actor
    from apps.events.frames import Chunk
    from apps.events.selectors import EventRow

SESSION_ENDED = 4410
RECHECK_SECONDS = 2.0  # many sockets of one token ask the database once
TOUCH_SECONDS = 60.0
MOST_REMEMBERED = 10_000

_lock = threading.Lock()
_allowed: dict[tuple[Any, ...], tuple[float, bool]] = {}
_touched: dict[UUID, float] = {}


class SessionSocket(LiveSocket):
    """One client attached to a session. Many may be; every one is told everything."""

    surface = polymux.SURFACE

    @property
    def session_id(self) -> UUID:
        if self.context.session_id is None:
            raise BadFrame
        return self.context.session_id

    @property
    def actor(self) -> Actor:
        return self.context.actor

    # --- Attaching -----------------------------------------------------------------------------

    async def authorize(self, credentials: Credentials) -> Context:
        actor, session = await db_call(_admit, credentials)
        return Context(
            actor=actor,
            session_id=session.pk,
            wire_session_id=session_wire_id(session.workspace_id, session.pk),
            still_allowed=partial(_still_allowed, credentials, actor, session.pk),
        )

    async def opening_frames(self, context: Context) -> Sequence[Frame]:
        session = await db_call(selectors.get_session, context.actor, self.session_id)
        if session.status == SessionStatus.ENDED:  # since `authorize`: the stream will not tell it
            raise SessionEnded
        state = await db_call(
            opening_state, session, base=self._base(), last_seq=self.sub.cursor, gap=self.sub.gap
        )
        return [("session_state", state), *(("approval_request", ask) for ask in state["pending"])]

    def _base(self) -> str:
        scheme = "https" if self.scope.get("scheme") == "wss" else "http"
        return f"{scheme}://{self.seen.headers.get('host', '')}"

    # --- Telling -------------------------------------------------------------------------------

    def dialect(self) -> str:
        return "dashboard" if self.seen.query.get("dialect") == "dashboard" else "polymux"

    def translate(self, row: EventRow) -> Sequence[Frame] | None:
        frames = translate_row(row)
        return translate_dashboard(frames) if self.dialect() == "dashboard" else frames

    def translate_tokens(self, chunk: Chunk) -> Sequence[Frame]:
        frames = translate_tokens(chunk)
        return translate_dashboard(frames) if self.dialect() == "dashboard" else frames

    def ending(self, row: EventRow) -> int:
        return SESSION_ENDED if row.name == "session.ended" else 0

    # --- Hearing -------------------------------------------------------------------------------

    async def on_frame(self, kind: str, payload: dict[str, Any]) -> None:
        """Frames of §11.6; what needs a browser is refused in words, as there is none yet."""
        handler: Callable[..., Coroutine[Any, Any, None]] | None = HANDLERS.get(kind)
        if handler is None:
            raise BadFrame(f"Unknown frame type {kind[:60]!r}.")
        self.actor.need(Scope.WRITE)
        await handler(self, payload)

    async def user_message(self, payload: dict[str, Any]) -> None:
        fields = NewMessage.read({k: v for k, v in payload.items() if v is not None})
        agent = fields.pop("agent_id", None) or "orchestrator"
        await db_call(services.post_message, self.actor, self.session_id, agent_key=agent, **fields)

    async def stop_agent(self, payload: dict[str, Any]) -> None:
        await db_call(services.stop_turn, self.actor, self.session_id)

    async def pause(self, payload: dict[str, Any]) -> None:
        await db_call(services.pause_session, self.actor, self.session_id)

    async def resume(self, payload: dict[str, Any]) -> None:
        await db_call(services.resume_session, self.actor, self.session_id)

    async def approval_provided(self, payload: dict[str, Any]) -> None:
        try:
            approval_id = UUID(str(payload.get("msg_id")))
        except ValueError:
            raise BadFrame("msg_id names no request.") from None
        extra = payload.get("extra_tokens")
        if extra is not None and (not isinstance(extra, int) or not 0 < extra < 2**31):
            raise BadFrame("extra_tokens is a positive number.")
        answer = payload.get("answer") if extra is None else {"extra_tokens": extra}
        await db_call(
            services.decide_pending,
            self.actor,
            self.session_id,
            approval_id,
            approved=payload.get("approved") is True,
            answer=answer,
        )

    async def title_request(self, payload: dict[str, Any]) -> None:
        """A title from the text's first words, told to the asker; renaming persists it."""
        words = str(payload.get("text") or "").split()
        self.tell("title_response", {"title": " ".join(words)[:60] or "New Workflow"})

    async def set_browser_mode(self, payload: dict[str, Any]) -> None:
        mode = "extension" if payload.get("mode") == "extension" else "server"
        await self._change(browser_mode=mode)

    async def set_humanize(self, payload: dict[str, Any]) -> None:
        await self._change(humanize=payload.get("enabled") is True)

    async def set_cloaked(self, payload: dict[str, Any]) -> None:
        await self._change(cloaked=payload.get("enabled") is True)

    async def _change(self, **changes: Any) -> None:
        await db_call(services.update_session, self.actor, self.session_id, **changes)

    async def no_browser(self, payload: dict[str, Any]) -> None:
        self.complain("AGENT_LIMIT_REACHED", "This workspace has no browser agents.")

    async def ignored(self, payload: dict[str, Any]) -> None:
        """A hint for a browser that is not there."""


HANDLERS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "user_message": SessionSocket.user_message,
    "stop_agent": SessionSocket.stop_agent,
    "pause": SessionSocket.pause,
    "resume": SessionSocket.resume,
    "approval_provided": SessionSocket.approval_provided,
    "title_request": SessionSocket.title_request,
    "set_browser_mode": SessionSocket.set_browser_mode,
    "set_humanize": SessionSocket.set_humanize,
    "set_cloaked": SessionSocket.set_cloaked,
    "spawn_browser_agent": SessionSocket.no_browser,
    "close_browser_agent": SessionSocket.no_browser,
    "stream_priority_update": SessionSocket.ignored,
    "user_location": SessionSocket.ignored,
    "workflow_user_lock_set": SessionSocket.ignored,
}


def _admit(seen: Credentials) -> tuple[Actor, Session]:
    """Prove, throttle (one read), enter the workspace that the id embeds, find the session."""
    workspace_id, session_id = parse_session_id(seen.path.split("/")[2])
    admission = Admission(polymux.SURFACE, seen)
    admission.admit(workspace=lambda caller: workspace_id or caller.workspace_id, bucket="read")
    actor = admission.actor
    if actor is None:  # a plain UUID and a token for everywhere: no workspace is named
        raise SessionNotFound
    session = selectors.get_session(actor, session_id)
    if session.status == SessionStatus.ENDED:
        raise SessionEnded
    return actor, session


def _still_allowed(seen: Credentials, actor: Actor, session_id: UUID) -> bool:
    """Asked every few seconds on a database thread; also keeps a watched session from idling out."""
    key = (actor.token_id, actor.user_id, actor.workspace_id, session_id)
    now = time.monotonic()
    known = _allowed.get(key)
    if known and now - known[0] < RECHECK_SECONDS:
        return known[1]
    try:
        polymux.SURFACE.authenticate(seen, workspace=actor.workspace_id)
        holds = True
    except DomainError:
        holds = False
    with _lock:
        if len(_allowed) >= MOST_REMEMBERED:
            _allowed.clear()
        _allowed[key] = (now, holds)
    if holds:
        _touch(actor, session_id, now)
    return holds


def _touch(actor: Actor, session_id: UUID, now: float) -> None:
    if now - _touched.get(session_id, -TOUCH_SECONDS) < TOUCH_SECONDS:
        return
    with _lock:
        if len(_touched) >= MOST_REMEMBERED:
            _touched.clear()
        _touched[session_id] = now
    services.touch_session(actor, session_id)


session_socket = SessionSocket.as_app()
