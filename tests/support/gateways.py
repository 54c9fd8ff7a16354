"""The web server with a gateway in it, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from apps.core import aio
from tests.support.stack import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymux.gateway.watch import Gateway


class Running:
    """`url` of the main port, and its `gateway`."""

    def __init__(self, web: Any, url: str) -> None:
        self.web = web
        self.url = url

    @property
    def gateway(self) -> Gateway:
        return self.web.gateway

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.gateway._tasks[0].get_loop()

    def compare(self) -> None:
        """Have the gateway compare now, and wait for it."""
        asyncio.run_coroutine_threadsafe(self.gateway.compare(), self.loop).result(20)


@contextmanager
def gateway_running() -> Iterator[Running]:
    from polymux.embedded.web import UvicornWeb, address_of, bind

    listener = bind("127.0.0.1", 0)
    web = UvicornWeb(formations="127.0.0.1")
    url = address_of(listener)
    thread = threading.Thread(target=web.serve_until_stopped, args=(listener,), daemon=True)
    thread.start()
    try:
        wait_until(lambda: web.gateway is not None and web.gateway._mark is not None)
        yield Running(web, url)
    finally:
        web.stop()
        thread.join(25)
        aio.adopt_loop(None)
        assert not thread.is_alive(), "the gateway did not stop"
