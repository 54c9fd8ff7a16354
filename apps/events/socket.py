"""The WebSocket base: handshake, envelope, liveness, limits (contract/polymux.md §11).

A subclass (a consumer in some app's `live.py`) gives five hooks: `authorize`, `opening_frames`,
`translate`, `translate_tokens` and `on_frame`; this class owns everything else:

- The credential is proven *before* the handshake is accepted; a refusal is an HTTP 401/403/404 with the
  surface's JSON body, or, where the server cannot do that, a close with 4401/4403/4404.
- `Origin`, when a browser sends it, must be our own host or one of CORS_ALLOWED_ORIGINS.
- Server frames: `{type, payload, id, timestamp, session_id, seq}`, `seq` by the rule in `frames.py`.
- Client frames: at most 256 KiB, 120 a minute (`RATE_LIMITED`, and 4429 for one who goes on), bad ones
  answered `BAD_FRAME`, 10 in a row close 4400.
- A reader that takes nothing for 5 s is closed with 4008 and its cursor as the reason (`since=<seq>`).

Protocol pings are the server's: `polymux.asgi.SERVER_OPTIONS` sets one each 25 s, dropped after two misses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.clock import now, rfc3339
from apps.core.errors import DomainError, Forbidden, Internal, Kind, RateLimited
from apps.core.ids import uuid7
from apps.events import http
from apps.events.envelope import SocketEncoder, open_envelope
from apps.events.errors import BadFrame
from apps.events.hub import hub
from apps.events.stream import StreamClosed
from apps.surfaces import kit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.events.frames import Chunk
    from apps.events.http import Receive, Scope, Send
    from apps.events.log import EventRow
    from apps.events.stream import Encoder, Subscription
    from apps.surfaces.kit import Credentials, Surface

log = logging.getLogger(__name__)

Frame = tuple[str, Any]  # (type, JSON-ready payload)

SUBPROTOCOL = "polymux.v1"
FRAME_BYTES = 256 * 1024
FRAMES_A_MINUTE = 120
BAD_IN_A_ROW = 10
LINGER_SECONDS = 10.0
REPLAY_AT_MOST = 500
CLOSE_CODES = {
    Kind.UNAUTHENTICATED: 4401,
    Kind.FORBIDDEN: 4403,
    Kind.NOT_FOUND: 4404,
    Kind.GONE: 4410,
    Kind.LIMITED: 4429,
}


@dataclass(frozen=True, slots=True)
class Context:
    """What `authorize` found. `session_id` None: the whole workspace's stream, without tokens.

    `still_allowed` runs on a database thread at least every 5 seconds; False closes with 4401.
    """

    actor: Actor
    session_id: UUID | None = None
    wire_session_id: str = ""
    still_allowed: Callable[[], bool] | None = None


class LiveSocket:
    """One connection. Subclasses are ASGI applications through `as_app()`."""

    surface: ClassVar[Surface]
    subprotocol: ClassVar[str] = SUBPROTOCOL
    replay_at_most: ClassVar[int] = REPLAY_AT_MOST

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.seen: Credentials = kit.from_scope(scope)
        self.context: Context
        self.sub: Subscription
        self._receive = receive
        self._send = send
        self._sending = False
        self._bad = 0
        self._allowance = float(FRAMES_A_MINUTE)
        self._counted_at = time.monotonic()

    # --- Hooks ---------------------------------------------------------------------------------

    async def authorize(self, credentials: Credentials) -> Context:
        """Prove the credentials and find the subject; raises domain errors."""
        raise NotImplementedError

    async def opening_frames(self, context: Context) -> Sequence[Frame]:
        """The snapshot, sent first on every connect. `self.sub.gap`: the replay is incomplete.

        The stream's position was taken before: a fact may be both in the snapshot and in a frame.
        """
        return ()

    def dialect(self) -> str:
        """A name for what `translate` produces: sockets of one dialect and session share bytes."""
        return type(self).__name__

    def translate(self, row: EventRow) -> Sequence[Frame] | None:
        """The frames of a fact. Called once for all sockets: use nothing of `self` but the dialect."""
        raise NotImplementedError

    def translate_tokens(self, chunk: Chunk) -> Sequence[Frame]:
        """The frames of merged token deltas. As `translate`, for all sockets."""
        return ()

    def ending(self, row: EventRow) -> int:
        """The close code when this fact ends the stream (4410), else 0."""
        return 0

    async def on_frame(self, kind: str, payload: dict[str, Any]) -> None:
        """A client's frame. Raises `BadFrame` for unknown types; other domain errors are reported."""
        raise BadFrame

    async def on_gone(self) -> None:
        """After the connection has ended."""

    # --- The envelope: of contract/polymux.md §11 unless a subclass speaks another ---------------

    def encoder(self) -> Encoder:
        """Made once, after `authorize`."""
        return SocketEncoder(self, self.context.wire_session_id)

    def names(self) -> frozenset[str] | None:
        """The facts this dialect tells, None: any."""
        return None

    def since(self) -> int | None:
        """Where the client wants to go on."""
        said = self.seen.query.get("since", "")
        return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None

    def whole(self, kind: str, payload: Any) -> str:
        """A frame that is no fact."""
        session = self.context.wire_session_id
        return open_envelope(kind, payload, uuid7(), rfc3339(now()), session) + "}"

    def payload_of(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a client's frame says besides its type."""
        payload = body.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise BadFrame("The payload is no object.")
        return payload or {}

    def code_of(self, error: DomainError) -> str:
        """How an error is called in a frame."""
        return error.code.upper()

    # --- For subclasses ------------------------------------------------------------------------

    @property
    def subprotocols(self) -> Sequence[str]:
        return self.scope.get("subprotocols") or ()

    def tell(self, kind: str, payload: Any) -> None:
        """Send this socket, and only it, a frame; it carries no `seq`."""
        self.sub.send(self.whole(kind, payload))

    def complain(self, code: str, message: str, *, recoverable: bool = True) -> None:
        self.tell("error", {"code": code, "message": message, "recoverable": recoverable})

    # --- The connection ------------------------------------------------------------------------

    @classmethod
    def as_app(cls) -> Callable[[Scope, Receive, Send], Any]:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await cls(scope, receive, send).run()

        return app

    async def run(self) -> None:
        """Handshake, then two tasks: this one reads, the other writes."""
        await self._receive()  # websocket.connect
        try:
            _check_origin(self.seen)
            self.context = await self.authorize(self.seen)
            self.sub = await self._subscribe()
        except Exception as error:  # noqa: BLE001 - answered, and logged by the surface
            await self._refuse(error)
            return
        writer: asyncio.Task[None] | None = None
        try:
            opening = [self.whole(*frame) for frame in await self.opening_frames(self.context)]
            await self._accept()
            for wire in opening:
                self.sub.send(wire)
            writer = asyncio.get_running_loop().create_task(self._write())
            self.sub.on_close = lambda _: self._unblock(writer)
            await self._read()
        except Exception as error:  # noqa: BLE001 - answered, and logged by the surface
            await self._refuse(error) if writer is None else self._fail(error)
        finally:
            await self._end(writer)

    async def _subscribe(self) -> Subscription:
        context = self.context
        return await hub().subscribe(
            context.actor.workspace_id,
            self.encoder(),
            session_id=context.session_id,
            since=self.since(),
            replay_at_most=self.replay_at_most,
            names=self.names(),
            still_allowed=context.still_allowed,
            token_id=context.actor.token_id,
            user_id=context.actor.user_id,
        )

    async def _accept(self) -> None:
        chosen = self.subprotocol if self.subprotocol in self.subprotocols else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen})

    async def _refuse(self, error: BaseException) -> None:
        """No before the handshake: the surface's HTTP answer, or a close code."""
        reply = self.surface.answer(error, self.seen)
        if "websocket.http.response" in (self.scope.get("extensions") or {}):
            headers = {**reply.headers, "Content-Length": str(len(reply.body))}
            start = {"status": reply.status, "headers": http.raw_headers(headers)}
            await self._send({"type": "websocket.http.response.start", **start})
            await self._send({"type": "websocket.http.response.body", "body": reply.body})
            return
        await self._send({"type": "websocket.accept"})
        code = CLOSE_CODES.get(kit.domain_error(error).kind, 1011)
        await self._send({"type": "websocket.close", "code": code})

    async def _end(self, writer: asyncio.Task[None] | None) -> None:
        self.sub.close()
        if writer is not None:
            # The writer says goodbye itself, and not for longer than LINGER_SECONDS.
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await writer
        with contextlib.suppress(Exception):
            await self.on_gone()

    def _fail(self, error: Exception) -> None:
        log.error("%s failed (%s)", self.seen.path, self.seen.request_id, exc_info=error)
        self.sub.close(1011)

    # --- Writing -------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while True:
                for wire in await self.sub.next():
                    self._sending = True
                    await self._send({"type": "websocket.send", "text": wire})
                    self._sending = False
        except StreamClosed as closed:
            code = closed.code
        except asyncio.CancelledError:
            code = self.sub.closed_with
            if not code:
                raise
        except Exception as error:  # noqa: BLE001 - a server says "gone" in its own way
            code = 1011
            self.sub.close(code)
            log.debug("writing to %s ended (%r)", self.seen.path, error)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._say_goodbye(code)

    async def _say_goodbye(self, code: int) -> None:
        reason = f"since={self.sub.cursor}" if code == 4008 else ""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _unblock(self, writer: asyncio.Task[None]) -> None:
        """The stream was closed while the writer waits for a peer that does not read."""
        if self._sending:
            writer.cancel()

    # --- Reading -------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            if self.sub.closed_with or not self._may_go_on():
                continue
            try:
                body = _parse(message)
                await self._dispatch(body["type"], self.payload_of(body))
                self._bad = 0
            except BadFrame as error:
                self._bad += 1
                self._report(error)
                if self._bad >= BAD_IN_A_ROW:
                    self.sub.close(4400)
            except DomainError as error:
                self._report(error)
            except Exception:
                log.exception("a frame failed on %s (%s)", self.seen.path, self.seen.request_id)
                self._report(Internal())

    def _report(self, error: DomainError) -> None:
        self.complain(self.code_of(error), error.message)

    async def _dispatch(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "ping":
            self.tell("pong", payload)
        else:
            await self.on_frame(kind, payload)

    def _may_go_on(self) -> bool:
        """120 frames a minute, as a bucket; what is over is not read, and twice that closes."""
        moment = time.monotonic()
        refill = (moment - self._counted_at) * FRAMES_A_MINUTE / 60
        self._allowance = min(float(FRAMES_A_MINUTE), self._allowance + refill) - 1
        self._counted_at = moment
        if self._allowance >= 0:
            return True
        self._report(RateLimited())
        if self._allowance < -FRAMES_A_MINUTE:
            self.sub.close(4429)
        return False


def _parse(message: Mapping[str, Any]) -> dict[str, Any]:
    text = message.get("text")
    if text is None:
        raise BadFrame("Frames are JSON text.")
    if len(text) > FRAME_BYTES or len(text.encode()) > FRAME_BYTES:
        raise BadFrame("This frame is larger than 256 KiB.")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("This frame is no JSON.") from None
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise BadFrame('A frame is an object with a "type".')
    return body


def _check_origin(seen: Credentials) -> None:
    """A page elsewhere must not drive a visitor's socket, localhost included."""
    origin = seen.headers.get("origin")
    if origin is None or origin in settings.CORS_ALLOWED_ORIGINS:
        return
    host = urlsplit(origin).netloc.lower()
    if not host or host != seen.headers.get("host", "").lower():
        raise Forbidden("This origin may not open a socket here.")
