"""The gateway dies, in a process of its own: what it served comes back, and the main port never noticed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from polymux.embedded.postgres import PostgresServer
from tests.platform.conftest import ROOT, Serving, clean_environment
from tests.support.redis import Redis
from tests.support.stack import wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and not os.environ.get("POLYMUX_REQUIRE_SERVICES"),
    reason="redis-server is not installed",
)


@pytest.fixture
def installation(folder):
    """`serve --workers 2`: two web processes, and a gateway beside them."""
    redis = Redis(folder)
    redis.start()
    serving = Serving(folder / "var", "--workers", "2", REDIS_URL=redis.url)
    yield serving
    if serving.process.poll() is None:
        serving.stop()
    redis.kill()
    PostgresServer(folder / "var" / "postgres").stop()


def seeded(serving, folder, *what):
    """What `tests.bench.seed` prints, made in the installation."""
    environment = clean_environment() | {"POLYMUX_DATA_DIR": str(folder / "var")}
    command = [sys.executable, "-m", "tests.bench.seed", *what]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    return done.stdout


def gateway_below(parent):
    """The process id of the gateway that `serve` keeps."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
            above = int((entry.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if b"gateway" in words and above == parent:
            return int(entry.parent.name)
    return None


def is_healthy(port):
    return httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=5).status_code == 200


def test_a_gateway_that_is_killed_comes_back_with_every_port(installation, folder):
    serving = installation.wait_until_up()
    ports = json.loads(seeded(serving, folder, "formations", "3"))
    wait_until(lambda: all(is_healthy(port) for port in ports), 40)
    before = gateway_below(serving.process.pid)
    os.kill(before, signal.SIGKILL)
    proxied = httpx.get(f"{serving.url}/api/idle-0/v1/health", timeout=10)
    assert proxied.json()["status"] == "healthy"
    wait_until(lambda: all(is_healthy(port) for port in ports), 40)
    after = gateway_below(serving.process.pid)
    assert after not in {None, before}
    assert serving.stop() == 0
    assert not Path(f"/proc/{after}").exists()
