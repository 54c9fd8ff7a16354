"""Several web processes on one socket, kept alive by a parent that runs the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from django.conf import settings

from polymux.embedded.say import warn
from polymux.embedded.web import CLOSE_SECONDS, DRAIN_SECONDS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

LOOK_EVERY = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
PARENT = "POLYMUX_PARENT_PID"


class WebProcesses:
    """Starts `count` children, each `serve --role web --fd N`, and starts anew the ones that die.

    With `formations`, an address, one more: the gateway, as a port belongs to one process.
    """

    def __init__(self, count: int, *, on_stop: Callable[[], None], formations: str = "") -> None:
        self._count = count
        self._on_stop = on_stop
        self._formations = formations
        self._stop = threading.Event()
        self._children: list[Child] = []

    def serve_until_stopped(self, listener: socket.socket | None) -> None:
        assert listener is not None
        fd = listener.fileno()
        serve = ["serve", "--role", "web", "--fd", str(fd)]
        self._children = [Child(serve, fd) for _ in range(self._count)]
        if self._formations:
            host = ["--formations", self._formations]
            self._children.append(Child(["gateway", "--beside-parent", *host]))
        while not self._stop.wait(LOOK_EVERY):
            for child in self._children:
                child.keep_alive()
        self._on_stop()
        listener.close()
        self._end_children()

    def stop(self) -> None:
        self._stop.set()

    def _end_children(self) -> None:
        for child in self._children:
            child.tell(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS + CLOSE_SECONDS + 2
        for child in self._children:
            child.wait(max(0.1, deadline - time.monotonic()))


class Child:
    """One process; after a crash it comes back, more slowly each time it crashes soon again."""

    def __init__(self, command: list[str], fd: int | None = None) -> None:
        self._command = command
        self._fds = () if fd is None else (fd,)
        self._pause = FIRST_PAUSE
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.keep_alive()

    def keep_alive(self) -> None:
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self._start(now)
        elif (code := self._process.poll()) is not None:
            self._process = None
            if now - self._began > STEADY_SECONDS:
                self._pause = FIRST_PAUSE
            warn(
                f"a process ({self._command[0]}) ended with {code}; the next one in {self._pause:.1f} s"
            )
            self._due = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _start(self, now: float) -> None:
        manage = str(settings.BASE_DIR / "manage.py")
        self._began = now
        self._process = subprocess.Popen(
            [sys.executable, manage, *self._command],
            pass_fds=self._fds,
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's to pass on
            env={**os.environ, PARENT: str(os.getpid())},
        )

    def tell(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()


def end_with_parent() -> None:
    """In a child: stop when the parent is gone, however it went, and if it went before we could look."""
    parent = int(os.environ.get(PARENT) or os.getppid())

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="parent-watch", daemon=True).start()
