"""Several web processes on one port, with Redis between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.platform.conftest import free_port
from tests.support.databases import fresh_database

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and not os.environ.get("POLYMUX_REQUIRE_SERVICES"),
    reason="redis-server is not installed",
)


@pytest.fixture
def database():
    with fresh_database() as url:
        yield url


@pytest.fixture
def redis_url(folder):
    port = str(free_port())
    command = ["redis-server", "--port", port, "--save", "", "--dir", str(folder.parent)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


def children_of(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"--fd" in command:
            found.append(int(stat.parent.name))
    return found


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def test_a_web_process_that_dies_comes_back_and_none_outlives_its_parent(
    serve, redis_url, database
):
    serving = serve("--workers", "2", REDIS_URL=redis_url, DATABASE_URL=database).wait_until_up()
    parent = serving.process.pid
    before = children_of(parent)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    assert within(20, lambda: len(set(children_of(parent)) - set(before)) == 1)
    assert within(20, lambda: serving.status("/health") == 200)
    last = children_of(parent)
    assert serving.stop() == 0
    assert not [pid for pid in last if Path(f"/proc/{pid}").exists()]


def test_web_processes_end_when_their_parent_is_killed(serve, redis_url, database):
    serving = serve("--workers", "2", REDIS_URL=redis_url, DATABASE_URL=database).wait_until_up()
    children = children_of(serving.process.pid)
    serving.kill()
    assert within(25, lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
