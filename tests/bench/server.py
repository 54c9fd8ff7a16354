"""The processes that are measured: `manage.py serve` as a user starts it, and the stub provider."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0  # seconds for a first start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], patience: float = PATIENCE) -> float:
    """Seconds until `url` answers 200."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < patience:
        if process.poll() is not None:
            raise SystemExit(f"the process for {url} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return time.perf_counter() - begun
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.02)
    raise SystemExit(f"{url} did not answer within {patience:.0f} s")


class Stub:
    """The scripted provider in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.support.stub_provider", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        wait_for(f"http://127.0.0.1:{self.port}/v1/models", self.process, 20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Server:
    """One `manage.py serve` with a data folder and a database of its own."""

    def __init__(self, folder: Path, stub: Stub) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = ""
        self.log = folder / "serve.log"
        self.environ = {
            **{k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR"}},
            "POLYMUX_DATA_DIR": str(folder / "data"),
            "POLYMUX_MODEL_ENDPOINTS": f"stub=http://127.0.0.1:{stub.port}/v1",
            "POLYMUX_MODEL": "stub/instant",
            "POLYMUX_RATE_READ": "1000000000",
            "POLYMUX_RATE_WRITE": "1000000000",
            "POLYMUX_RATE_CHAT": "1000000000",
            "POLYMUX_RATE_POLPO": "1000000000",
            "POLYMUX_MAX_ACTIVE_SESSIONS": "1000000",
            "POLYMUX_OUTBOUND_ALLOW": "127.0.0.1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds from the command to the first 200 on /health. The first start shows the token."""
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port)]
        begun = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        wait_for(f"http://127.0.0.1:{self.port}/health", self.process)
        seconds = time.perf_counter() - begun
        if not self.token:
            self.token = self._shown_token()
        return seconds

    def _shown_token(self) -> str:
        for _ in range(100):
            if found := re.search(r"API token\s+(\S+)", self.log.read_text()):
                return found.group(1)
            time.sleep(0.1)
        raise SystemExit(f"no token in {self.log}:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- What it costs ------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """The server, its children, and its PostgreSQL, whoever is its parent."""
        assert self.process
        found = {self.process.pid: psutil.Process(self.process.pid)}
        roots = [*found.values(), *self._postmaster()]
        for root in roots:
            found[root.pid] = root
            found |= {child.pid: child for child in root.children(recursive=True)}
        return list(found.values())

    def _postmaster(self) -> list[psutil.Process]:
        for path in (self.folder / "data").rglob("postmaster.pid"):
            return [psutil.Process(int(path.read_text().split("\n", 1)[0]))]
        return []

    def cpu(self) -> float:
        """CPU seconds of the server's own process so far."""
        assert self.process
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def pss(self, *, everything: bool = True) -> float:
        """Proportional set size in MB: shared pages are counted once."""
        assert self.process
        chosen = self.processes() if everything else [psutil.Process(self.process.pid)]
        return sum(_pss_kb(process.pid) for process in chosen) / 1024


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it ended meanwhile
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) if found else 0
