"""Streaming HTTP on the loop: a base for every answer that is sent as it comes.

A bare ASGI application (CPU a streamed token is what counts). A subclass names its `surface` and writes
`respond(exchange)`. What goes wrong before the first byte is answered in the surface's words; what goes
wrong afterwards is told in band (`in_band`) and ends the stream. When the client disconnects, the
callbacks of `exchange.on_disconnect` run and `respond` is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.errors import TooLarge
from apps.surfaces import kit
from apps.surfaces.kit import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from apps.surfaces.kit import Credentials, Surface

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)


class ClientGone(Exception):
    """The client went away while its body was read."""


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]


def cors_headers(seen: Credentials) -> dict[str, str]:
    """What lets a listed origin's page read a streamed answer. Django's middleware does it elsewhere."""
    origin = seen.headers.get("origin", "")
    if origin not in settings.CORS_ALLOWED_ORIGINS:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": ", ".join(settings.CORS_EXPOSE_HEADERS),
        "Vary": "Origin",
    }


def declared_length(scope: Scope) -> int | None:
    """Content-Length, None when absent or not a number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else None
    return None


async def send_reply(send: Send, reply: Reply) -> None:
    """A whole answer."""
    headers = raw_headers({**reply.headers, "Content-Length": str(len(reply.body))})
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


class Exchange:
    """One request and its streamed answer."""

    __slots__ = (
        "_callbacks",
        "_cap",
        "_receive",
        "_send",
        "gone",
        "scope",
        "seen",
        "sending",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, cap: int) -> None:
        self.scope = scope
        self.seen: Credentials = kit.from_scope(scope)
        self.started = False
        self.sending = False
        self.gone = False
        self._cap = cap
        self._receive = receive
        self._send = send
        self._callbacks: list[Callable[[], object]] = []

    def allow(self, cap: int) -> None:
        """Take a body of up to `cap` bytes."""
        self._cap = cap

    async def body(self) -> bytes:
        """The whole body, counted while it is read: `TooLarge` beyond the cap, `ClientGone`."""
        if (declared_length(self.scope) or 0) > self._cap:
            raise TooLarge(max_upload_size=self._cap)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._cap:
                raise TooLarge(max_upload_size=self._cap)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Called, on the loop, once the client has gone; before `respond` is cancelled."""
        self._callbacks.append(callback)

    async def start(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.started = True
        every = {**(headers or {}), **cors_headers(self.seen)}
        start = {"type": "http.response.start", "status": status, "headers": raw_headers(every)}
        await self._send(start)

    async def write(self, data: bytes) -> None:
        """Send a piece; waits while the client does not keep up."""
        self.sending = True
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            self.sending = False

    async def finish(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def reply(self, reply: Reply) -> None:
        """A whole answer instead of a stream."""
        self.started = True
        headers = {**reply.headers, **cors_headers(self.seen)}
        await send_reply(self._send, Reply(reply.status, headers, reply.body))

    async def watch(self, responder: asyncio.Task[Any]) -> None:
        """Wait for the disconnect, then tell and cancel. Runs beside the responder."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        for callback in self._callbacks:
            callback()
        responder.cancel()


class StreamingApp:
    """An ASGI application for one streaming route. One instance serves all its requests."""

    surface: Surface
    reads_body = True

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        """Answer. `start` and `write`, or `reply`; `finish` is called for a stream that was not ended."""
        raise NotImplementedError

    def in_band(self, exchange: Exchange, error: BaseException) -> bytes:
        """How this stream says that it broke after its first byte; empty: it just ends."""
        return b""

    def body_cap(self) -> int:
        return settings.MAX_BODY_BYTES

    async def before_body(self, exchange: Exchange) -> None:
        """Asked before the body is read: may `exchange.allow` a larger one, or refuse."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, cap=self.body_cap())
        watcher: asyncio.Task[None] | None = None
        try:
            await self.before_body(exchange)
            body = await exchange.body() if self.reads_body else b""
            responder = asyncio.current_task()
            assert responder is not None
            watcher = asyncio.get_running_loop().create_task(exchange.watch(responder))
            await self.respond(exchange, body)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
        except Exception as error:  # noqa: BLE001 - answered, and logged by the surface
            await self._broken(exchange, error)
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _broken(self, exchange: Exchange, error: Exception) -> None:
        if not exchange.started:
            await exchange.reply(self.surface.answer(error, exchange.seen))
            return
        kit.domain_error(error)
        log.error("%s broke off (%s)", exchange.seen.path, exchange.seen.request_id, exc_info=error)
        await exchange.finish(self.in_band(exchange, error))
