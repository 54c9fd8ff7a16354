"""`manage.py serve`: everything an installation needs, in one process and one command.

TLDR: bind the port, have a database, migrate it, make the first records, start worker and beat as
threads and the web server in the main thread; at SIGTERM or Ctrl-C take it down in the other order.
Each part can run alone (`--role`), for machines of their own.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.conf import settings

from polymux.embedded import database, web
from polymux.embedded.beat import Beat
from polymux.embedded.locks import LockBusy
from polymux.embedded.postgres import PostgresFailed
from polymux.embedded.say import CannotServe, say, warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from polymux.embedded.postgres import PostgresServer
    from polymux.embedded.watch import Watch
    from polymux.embedded.worker import Worker


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for. `fd`: a listening socket inherited from our parent.

    `formations`: the address on which formations' ports are bound; "" binds none here.
    """

    host: str = "127.0.0.1"
    port: int = 7890
    server: str = "uvicorn"
    role: str = "all"
    workers: int = 1
    worker: bool = True
    beat: bool = True
    fd: int | None = None
    formations: str = "127.0.0.1"
    beside_parent: bool = False

    @property
    def is_gateway(self) -> bool:
        """Whether this very process listens on formations' ports: with several web processes, none of
        them, but one more.
        """
        if not self.formations or self.fd is not None:
            return False
        return self.role == "gateway" or (self.role == "all" and self.workers == 1)

    @property
    def is_child(self) -> bool:
        """Whether a `serve` with several web processes has started this one."""
        return self.fd is not None or self.beside_parent

    @property
    def serves_web(self) -> bool:
        return self.role in {"all", "web"}

    @property
    def runs_worker(self) -> bool:
        return self.role == "worker" or (self.role == "all" and self.worker)

    @property
    def runs_beat(self) -> bool:
        return self.role == "beat" or (self.role == "all" and self.beat)


class MainPart(Protocol):
    """What the main thread does until it is told to stop."""

    def serve_until_stopped(self, listener: socket.socket | None) -> None: ...

    def stop(self) -> None: ...


class Idle:
    """The main thread of a process without a web server."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._on_stop = on_stop

    def serve_until_stopped(self, _listener: socket.socket | None = None) -> None:
        from apps.core.aio import spawn

        while not self._stop.wait(3600):
            pass
        self._on_stop()
        with suppress(Exception):
            spawn(web.drain()).result(web.DRAIN_SECONDS + 2)

    def stop(self) -> None:
        self._stop.set()


class Signals:
    """The first SIGINT or SIGTERM begins a clean stop; the second ends the process at once."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._seen = False
        self.at_once: Callable[[], None] = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def stops(self, stop: Callable[[], None]) -> None:
        """From now on the first signal calls `stop`; before, it interrupts the start."""
        self._stop = stop
        if self._seen:
            stop()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._seen:
            self.at_once()
            os._exit(128 + number)
        self._seen = True
        if self._stop is None:
            raise Interrupted
        self._stop()


class Interrupted(SystemExit):
    """Told to stop before everything had started: not a failure."""

    def __init__(self) -> None:
        super().__init__(0)


class Serve:
    """One run of the command."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.signals = Signals()
        self.postgres: PostgresServer | None = None
        self.worker: Worker | None = None
        self.beat: Beat | None = None
        self.watch: Watch | None = None

    def run(self) -> None:
        """Returns after a clean stop; raises `CannotServe` when it cannot begin."""
        refuse_impossible(self.options)
        if self.options.is_child:
            from polymux.embedded.processes import end_with_parent

            end_with_parent()
        listener = self._listener() if self.options.serves_web else None
        clean = False
        try:
            self._prepare()
            self._start_parts()
            main = self._main_part(listener)
            self.signals.stops(main.stop)
            self._announce(listener)
            main.serve_until_stopped(listener)
            clean = True
        finally:
            self._finish()
        if clean and not self.options.is_child:
            say("polymux: stopped")

    def _listener(self) -> socket.socket:
        if self.options.fd is not None:
            return socket.socket(fileno=self.options.fd)
        return web.bind(self.options.host, self.options.port)

    def _prepare(self) -> None:
        """A database with tables, and folders. A child's parent has done it."""
        if self.options.is_child:
            return
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise looks for it
        self.postgres = database.start_own_postgres()
        if self.postgres is not None:
            self.signals.at_once = self.postgres.abandon
        database.prepare()

    def _start_parts(self) -> None:
        options = self.options
        if options.runs_worker:
            from polymux.embedded.watch import Watch
            from polymux.embedded.worker import Worker

            self.worker = Worker()
            self.worker.start()
            if settings.REDIS_URL:
                self.watch = Watch(self.worker)
                self.watch.start()
        if options.runs_beat:
            self.beat = Beat()
            self.beat.start()

    def _main_part(self, listener: socket.socket | None) -> MainPart:
        formations = self.options.formations if self.options.is_gateway else None
        if listener is None and formations is None:
            return Idle(self._close_parts)
        if self.options.workers > 1:
            from polymux.embedded.processes import WebProcesses

            beside = self.options.formations if self.options.role == "all" else ""
            return WebProcesses(self.options.workers, on_stop=self._close_parts, formations=beside)
        if self.options.server == "daphne" and listener is not None:
            return web.DaphneWeb(on_stop=self._close_parts, formations=formations)
        return web.UvicornWeb(on_stop=self._close_parts, formations=formations)

    def _announce(self, listener: socket.socket | None) -> None:
        if self.options.is_child:
            return
        if listener is None:
            say(f"polymux: {self.options.role} is running")
            return
        address = settings.PUBLIC_URL or web.address_of(listener)
        from polymux.embedded import first_run

        if welcome := first_run.set_up():
            first_run.show(welcome, address)
        for line in model_lines():
            say(f"polymux: {line}")
        say(f"polymux: listening on {address} (Ctrl-C stops)")

    def _close_parts(self) -> None:
        """Stop taking new work; called as soon as no more requests are accepted."""
        for part in (self.watch, self.beat, self.worker):
            if part is not None:
                part.close()

    def _finish(self) -> None:
        """Worker, beat, then the PostgreSQL we use: the last who uses it ends it."""
        self._close_parts()
        stuck = [p for p in (self.beat, self.worker) if p is not None and not p.join()]
        from django.db import connection

        cast("Any", connection).close_pool()  # PostgreSQL's connections have it
        if self.postgres is not None:
            try:
                self.postgres.stop()
            except (PostgresFailed, LockBusy, OSError) as error:
                warn(f"PostgreSQL was left running: {error}")
        if stuck:
            warn("a job did not end in time; its run resumes at the next start")
            sys.stdout.flush()
            os._exit(0)  # its thread would keep the interpreter from ending


def refuse_impossible(options: Options) -> None:
    """Combinations that cannot work, in one line each."""
    if settings.REDIS_URL:
        return
    if options.workers > 1:
        raise CannotServe(
            "--workers needs REDIS_URL: without it one process does not see another's live frames"
        )
    if options.role != "all" and not options.is_child:
        raise CannotServe(
            f"--role {options.role} needs REDIS_URL: without it the parts of an installation do not "
            "hear each other. Set REDIS_URL, or use one `serve` for all parts."
        )


def model_lines() -> list[str]:
    """Which model answers, why, and what is not set up: the engine's own words."""
    from apps.engine.choice import describe, prepare

    prepare()
    return describe()


def serve(options: Options) -> None:
    """Run until told to stop."""
    Serve(options).run()
