"""An installation as docker-compose.yml runs it: PostgreSQL, Redis, and each role in processes of its own.

`Cluster.keep_up()` is what `restart: unless-stopped` is there: whoever is found dead is started anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from polymux.embedded.postgres import PostgresServer
from tests.support.redis import Redis

ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
LOOK_EVERY = 0.1  # seconds between two looks of the supervisor
STOPS_WITHIN = 30.0  # seconds after a SIGTERM, as compose's `stop_grace_period`


@dataclass
class Part:
    """One process of a role. `port`: 0 for a role that does not listen."""

    name: str
    role: str
    port: int
    environ: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    told_to_stop: bool = False
    surprises: list[int] = field(default_factory=list)  # exit codes nobody asked for

    def start(self) -> None:
        arguments = ["--role", self.role, *(["--port", str(self.port)] if self.port else [])]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", *arguments],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        self.starts += 1
        self.told_to_stop = False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_up(self) -> bool:
        """Whether it does its work, as far as one can see from outside."""
        if not self.alive:
            return False
        if not self.port:
            return self.log.count(f"polymux: {self.role} is running") >= self.starts
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tell(self, number: int) -> None:
        if self.alive:
            self.told_to_stop = self.told_to_stop or number in {signal.SIGKILL, signal.SIGTERM}
            os.kill(self.pid, number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Tell it, wait for it; its exit code."""
        self.tell(number)
        assert self.process is not None
        return self.process.wait(STOPS_WITHIN)


def needs_redis() -> None:
    """Skips the test without a redis-server, unless services are required."""
    if shutil.which("redis-server") is None:
        if os.environ.get("POLYMUX_REQUIRE_SERVICES"):
            pytest.fail("redis-server is missing")
        pytest.skip("redis-server is missing")


class Cluster:
    """`counts` of a role: how many processes. Entered: PostgreSQL and Redis run; left: nothing does."""

    def __init__(self, folder: Path, environ: dict[str, str], *, fsync: bool = False) -> None:
        self.folder = folder
        self.postgres = PostgresServer(folder / "pg", fsync=fsync)
        self.redis = Redis(folder)
        self.parts: dict[str, Part] = {}
        self.held = threading.Lock()  # held: the supervisor looks away
        self._leaving = threading.Event()
        self._supervisor: threading.Thread | None = None
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.environ = {
            **passed,
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.redis.url,
            "POLYMUX_DATA_DIR": str(folder / "data"),
            "POLYMUX_RATE_READ": "1000000",
            "POLYMUX_RATE_WRITE": "1000000",
            "POLYMUX_OUTBOUND_ALLOW": "127.0.0.1",
            **environ,
        }

    def __enter__(self) -> Self:
        self.postgres.start()
        self.postgres.ensure_database()
        self.redis.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        if self._supervisor is not None:
            self._supervisor.join(10)
        for part in self.parts.values():
            part.tell(signal.SIGCONT)
            part.tell(signal.SIGKILL)
        for part in self.parts.values():
            if part.process is not None:
                part.process.wait(10)
        self.redis.kill()
        self.postgres.stop()

    def seed(self, *arguments: str) -> str:
        """What `tests.chaos.seed` says: tables, operator, token, agents, the sink's tool."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.seed", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip().splitlines()[-1]

    def start(self, ports: dict[str, int], **counts: int) -> None:
        """`start({"web0": 8001}, web=1, worker=2)`; returns when all of them are up."""
        for role, count in counts.items():
            for number in range(count):
                name = f"{role}{number}"
                part = Part(name, role, ports.get(name, 0), self.environ, self.folder)
                self.parts[name] = part
                part.start()
        self.wait_until_up()

    def of(self, role: str) -> list[Part]:
        return [part for part in self.parts.values() if part.role == role]

    def wait_until_up(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        waiting = dict(self.parts)
        while waiting:
            waiting = {name: part for name, part in waiting.items() if not part.is_up}
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not up after {seconds:g} s: {sorted(waiting)}\n"
                    + "".join(part.log[-1500:] for part in waiting.values())
                )
            time.sleep(0.05)

    def keep_up(self) -> None:
        """From now on start anew whoever is found dead, until the cluster is left."""
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def _supervise(self) -> None:
        while not self._leaving.wait(LOOK_EVERY):
            with self.held:
                for part in self.parts.values():
                    if part.alive or self._leaving.is_set():
                        continue
                    assert part.process is not None
                    if not part.told_to_stop:
                        part.surprises.append(part.process.returncode)
                    part.start()

    def restart_postgres(self, *, crash: bool) -> None:
        """Down and up again. `crash`: every process of it is killed, and it recovers from its log."""
        if crash:
            self._crash_postgres()
        else:
            self.postgres.stop()
        self.postgres.start()

    def _crash_postgres(self) -> None:
        pid = int((self.folder / "pg" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGQUIT)  # immediate: no checkpoint, nothing is rolled back in order
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.02)

    def restart_redis(self) -> None:
        """Killed and empty: what was queued in it is gone."""
        self.redis.kill()
        self.redis.start()
