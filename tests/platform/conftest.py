from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from polymux.embedded.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this test's own, with a blank and a letter beyond ASCII in its path."""
    path = Path(tempfile.mkdtemp(prefix="pm "))
    (path / "my däta").mkdir()
    yield path / "my däta"
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def postgres(folder: Path) -> Iterator[Callable[[], PostgresServer]]:
    """Makes `PostgresServer`s of one root; every server is gone at the end."""
    made: list[PostgresServer] = []

    def make() -> PostgresServer:
        made.append(PostgresServer(folder / "pg", fsync=False))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """One `manage.py serve` as a user runs it: its own process, data folder and port."""

    def __init__(self, data: Path, *arguments: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = clean_environment() | {"POLYMUX_DATA_DIR": str(data)} | settings
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(self.port), *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._readers = [
            self._read(self.process.stdout, self._lines),
            self._read(self.process.stderr, self._errors),
        ]

    def _read(self, stream: Any, into: list[str]) -> threading.Thread:
        thread = threading.Thread(target=lambda: into.extend(stream), daemon=True)
        thread.start()
        return thread

    @property
    def out(self) -> str:
        return "".join(self._lines)

    @property
    def err(self) -> str:
        return "".join(self._errors)

    def wait_until_up(self, seconds: float = 120) -> Serving:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.out + self.err
            if f"listening on {self.url}" in self.out and self.status("/health") == 200:
                return self
            time.sleep(0.1)
        raise AssertionError(f"not up after {seconds} s:\n{self.out}{self.err}")

    def status(self, path: str, token: str = "") -> int:
        request = urllib.request.Request(self.url + path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.finish()

    @property
    def token(self) -> str:
        return re.search(r"API token\s+(\S+)", self.out)[1]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.finish(seconds)

    def finish(self, seconds: float = 40) -> int:
        code = self.process.wait(seconds)
        self.close()
        return code

    def close(self) -> None:
        for reader, stream in zip(
            self._readers, (self.process.stdout, self.process.stderr), strict=True
        ):
            reader.join(5)
            if not reader.is_alive():  # a child that outlives it has the pipe: closing would wait
                stream.close()


def clean_environment() -> dict[str, str]:
    foreign = ("POLYMUX_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTEST_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)}


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Serving]]:
    """Starts `manage.py serve`s on one data folder; none is left at the end."""
    started: list[Serving] = []

    def start(*arguments: str, **settings: str) -> Serving:
        started.append(Serving(folder, *arguments, **settings))
        return started[-1]

    yield start
    for one in started:
        one.kill()
    PostgresServer(folder / "postgres").stop()
