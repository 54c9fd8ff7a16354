"""The real application behind a real socket, in a thread of the test's own process.

Requests run on other threads and connections than the test's, so the database must hold what the test
made: `pytest.mark.django_db(transaction=True)`.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from apps.core import aio

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0  # seconds


@contextmanager
def serving() -> Iterator[int]:
    """The port of `polymux.asgi` on loopback."""
    from polymux import asgi

    app = asgi.Router(asgi.SOCKETS, asgi.STREAMS)
    options = {"lifespan": "on", "log_level": "error", "ws": "websockets-sansio"}
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, **(options | asgi.SERVER_OPTIONS)))
    thread = threading.Thread(target=server.run, name="test-server", daemon=True)
    thread.start()
    try:
        yield _port(server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        aio.adopt_loop(None)
        assert not thread.is_alive(), "the server did not stop"


def _port(server: uvicorn.Server) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.started:
            return int(server.servers[0].sockets[0].getsockname()[1])
        time.sleep(0.01)
    raise AssertionError("the server did not start")
