"""One formation's port: its socket, and the connections that came by it.

The connections speak uvicorn's HTTP protocol with the main port's options; all ports share one
configuration and one application, so that a further idle one costs a socket and a few objects.
"""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from uvicorn.server import ServerState

from polymux.gateway.addresses import ref_of

if TYPE_CHECKING:
    import uvicorn

    from apps.events.http import Receive, Scope, Send
    from apps.formations.registry import Address

BACKLOG = 256


class PortTaken(Exception):
    """Another program listens there, or we may not."""


class Clock:
    """The `Date` header of all ports, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers


class PortState(ServerState):
    """uvicorn's bookkeeping of one port's connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._clock.headers

    @default_headers.setter
    def default_headers(self, _headers: list[tuple[bytes, bytes]]) -> None:
        """The base class sets an empty list."""


class Listener:
    """A bound port. `address` may be set anew: what comes from then on is for that formation."""

    def __init__(self, port: int, address: Address, config: uvicorn.Config, clock: Clock) -> None:
        self.port = port
        self.address = address
        self._config = config
        self._application: Any = config.loaded_app
        self._state = PortState(clock)
        self._server: asyncio.AbstractServer | None = None

    async def open(self, host: str) -> None:
        """Listen from now on. Raises PortTaken."""
        listener = bound(host, self.port)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=listener, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """No new connections; those that are there end after the answer they wait for."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self, seconds: float) -> None:
        """Stop accepting, and give what is under way `seconds`; live streams end with the wait."""
        self.stop_accepting()
        deadline = time.monotonic() + seconds
        state = self._state
        # uvicorn's sets tell nobody when they are empty.
        while (state.connections or state.tasks) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.transport.abort()

    def _protocol(self) -> asyncio.Protocol:
        made: Any = self._config.http_protocol_class(
            config=self._config,  # type: ignore[call-arg]
            server_state=self._state,
            app_state={},
        )
        made.app = self._serve
        protocol: asyncio.Protocol = made
        return protocol

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["formation"] = ref_of(self.address)
        await self._application(scope, receive, send)


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; PortTaken. Never shared: a second program on the port is a stranger."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(error.strerror or str(error)) from None
    listener.setblocking(False)
    return listener
