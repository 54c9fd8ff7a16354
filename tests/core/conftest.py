"""Commands run in the sandbox, as whoever runs the tests and, where that is root, as `nobody` too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from apps.core import sandbox
from apps.core.confinement import can_confine
from apps.core.sandbox import CommandResult

HERE = Path(__file__).parent
NOBODY = "65534"
READ_ONLY_POWER = "+dac_read_search"


def need_sandbox(reason):
    if not reason:
        return
    if os.environ.get("POLYMUX_REQUIRE_SERVICES"):
        pytest.fail(f"no sandbox: {reason}")
    pytest.skip(f"no sandbox: {reason}")


class AsOurselves:
    def run(self, root, command, bounds):
        return asyncio.run(sandbox.run_command(root, command, **bounds))

    def close(self):
        pass


class AsNobody:
    """A process of its own: who it is cannot be changed back."""

    def __init__(self):
        power = READ_ONLY_POWER
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        drop += [f"--inh-caps=-all,{power}", f"--ambient-caps=-all,{power}"]
        program = [sys.executable, "-I", str(HERE / "commands_as_nobody.py")]
        self.process = subprocess.Popen(
            [*drop, *program, str(HERE.parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        need_sandbox(self.heard())

    def heard(self):
        return json.loads(self.process.stdout.readline())

    def run(self, root, command, bounds):
        print(json.dumps([str(root), command, bounds]), file=self.process.stdin, flush=True)
        return CommandResult(**self.heard())

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="module", params=["ourselves", "nobody"])
def hand(request):
    if request.param == "nobody" and os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    need_sandbox(can_confine())
    made = AsNobody() if request.param == "nobody" else AsOurselves()
    yield made
    made.close()


@pytest.fixture
def house(hand):
    """A folder that the one who runs commands can reach, with a neighbour's secret beside it."""
    top = Path(tempfile.mkdtemp(prefix="polymux-sandbox-", dir="/var/tmp"))
    (top / "files").mkdir()
    (top / "secret").write_text("of a neighbour")
    if isinstance(hand, AsNobody):
        for path in (top, top / "files", top / "secret"):
            os.chown(path, int(NOBODY), int(NOBODY))
    yield top
    shutil.rmtree(top)


@pytest.fixture
def run(hand, house):
    """`run(command, **bounds)` -> CommandResult."""

    def run_in_the_folder(command, **bounds):
        return hand.run(house / "files", command, {"seconds": 20, **bounds})

    return run_in_the_folder


def running(argument):
    """The processes of this machine that were started with this argument."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and argument in (place / "cmdline").read_text().split("\0"):
                found.append(int(place.name))
    return found


def gone(argument, within=1.0):
    """Is no process left with this argument, a second after the answer?"""
    until = time.monotonic() + within
    while running(argument) and time.monotonic() < until:
        time.sleep(0.02)
    return not running(argument)
