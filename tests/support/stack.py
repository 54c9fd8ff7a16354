"""The whole product in this process: uvicorn on a free port, a Celery worker, a stub provider."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx

from tests.support.stub_provider import StubProvider


class Stack:
    """`stack.url`, `stack.stub`; started once per pytest process, on the tests' own database."""

    def __init__(self) -> None:
        self.stub = StubProvider()
        self.base_url = self.stub.start()

    def start(self) -> None:
        from polymux.embedded.web import UvicornWeb, address_of, bind
        from polymux.embedded.worker import Worker

        listener = bind("127.0.0.1", 0)
        self.url = address_of(listener)
        self.web = UvicornWeb()
        self.thread = threading.Thread(
            target=self.web.serve_until_stopped, args=(listener,), daemon=True
        )
        self.thread.start()
        self.worker = Worker()
        self.worker.start()
        wait_until(lambda: httpx.get(f"{self.url}/health").status_code == 200)

    def stop(self) -> None:
        self.web.stop()
        self.worker.close()
        self.thread.join(20)
        self.worker.join()
        self.stub.stop()


def wait_until(holds: Any, seconds: float = 15.0) -> Any:
    """The first truthy value of `holds()`; fails the test when it never comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if value := holds():
                return value
        except httpx.TransportError:
            pass
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {holds}")
