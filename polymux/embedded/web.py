"""The web server in this process: uvicorn, or daphne on request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from polymux.embedded.say import CannotServe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymux.gateway.watch import Gateway

log = logging.getLogger(__name__)

APPLICATION = "polymux.asgi:application"
BACKLOG = 1024
MESSAGE_BYTES = 256 * 1024  # of one WebSocket message
HEADER_BYTES = 64 * 1024
DRAIN_SECONDS = 8.0  # for turns that are under way
CLOSE_SECONDS = 10.0  # then, for requests that are under way


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, or one clear line. Bound first of all: nothing slow is done in vain."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Only one of two that start together gets past here: bound but not listening is not taken.
        listener.listen(BACKLOG)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port."
        ) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:7890`, as a browser on this machine would write it."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared only)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def drain() -> None:
    """Let turns that are under way finish, within `DRAIN_SECONDS`."""
    from apps.runs import runner

    try:
        await runner.drain(DRAIN_SECONDS)
    except Exception:
        log.exception("some turns could not finish; they resume at the next start")


def web_config(**options: Any) -> uvicorn.Config:
    """The configuration of every port of ours, formations' too."""
    from polymux.asgi import SERVER_OPTIONS

    usual: dict[str, Any] = {
        "loop": "uvloop",
        "http": "httptools",
        "h11_max_incomplete_event_size": HEADER_BYTES,
        "interface": "asgi3",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "backlog": BACKLOG,
        "timeout_keep_alive": 30,
    }
    return uvicorn.Config(APPLICATION, **(usual | SERVER_OPTIONS | options))


def gateway_at(host: str) -> Gateway:
    """A gateway that has begun to watch, on the running loop. A formation has no sockets."""
    from polymux.gateway.watch import Gateway

    gateway = Gateway(web_config(ws="none"), host)
    gateway.start()
    return gateway


class UvicornWeb(uvicorn.Server):
    """uvicorn that leaves signals to us and lets turns finish before it closes connections.

    With `formations`, an address, it is the gateway, too: it listens there on every running formation's
    port. Without a listener it is nothing but that.
    """

    def __init__(
        self, *, on_stop: Callable[[], None] = lambda: None, formations: str | None = None
    ) -> None:
        super().__init__(web_config())
        self._on_stop = on_stop
        self._formations = formations
        self.gateway: Gateway | None = None

    def serve_until_stopped(self, listener: socket.socket | None) -> None:
        self.run(sockets=[listener] if listener is not None else [])

    def stop(self) -> None:
        """Begin to stop. Safe in a signal handler."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._formations is not None:
            self.gateway = gateway_at(self._formations)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began = time.monotonic()
        for server in self.servers:
            server.close()
        if self.gateway is not None:
            self.gateway.stop_accepting()
        self._on_stop()
        await drain()
        log.debug("turns finished after %.1f s", time.monotonic() - began)
        if self.gateway is not None:
            from polymux.asgi import application

            await application.begin_shutdown()  # live streams end first, on every port
            await self.gateway.close(CLOSE_SECONDS)
        await super().shutdown(sockets)


class DaphneWeb:
    """daphne, for those who know its ways. Imports twisted: a second more at start."""

    def __init__(
        self, *, on_stop: Callable[[], None] = lambda: None, formations: str | None = None
    ) -> None:
        self._on_stop = on_stop
        self._formations = formations
        self._gateway: Gateway | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    def serve_until_stopped(self, listener: socket.socket | None) -> None:
        from daphne.server import Server

        from polymux.asgi import application

        assert listener is not None
        host, port = listener.getsockname()[:2]
        listener.close()  # daphne opens its own
        interface = host.replace(":", "\\:")
        Server(
            application,
            endpoints=[f"tcp:port={port}:interface={interface}"],
            signal_handlers=False,
            ready_callable=self._on_ready,
            verbosity=0,
            server_name="polymux",
            websocket_max_message_size=MESSAGE_BYTES,
            websocket_max_frame_size=MESSAGE_BYTES,
        ).run()

    def _on_ready(self) -> None:
        from apps.core import aio

        self._loop = asyncio.get_event_loop()
        aio.adopt_loop(self._loop)
        if self._formations is not None:
            self._loop.call_soon(self._start_gateway, self._formations)

    def _start_gateway(self, host: str) -> None:
        self._gateway = gateway_at(host)

    def stop(self) -> None:
        if self._loop is not None and not self._stopping:
            self._stopping = True
            self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        from twisted.internet import reactor

        from polymux.asgi import application

        self._on_stop()
        await application.begin_shutdown()
        if self._gateway is not None:
            await self._gateway.close(CLOSE_SECONDS)
        await drain()
        cast("Any", reactor).stop()  # typed as an interface, it is a module
