"""`make bench`: measure the figures of the README on this machine and print them as a table.

python -m tests.bench [--only turns,tokens,…] [--keep]; `--only chaos`: the long storm, with installations
of its own (`chaos.py`)
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from tests.bench import board, chaos, figures
from tests.bench import formations as formation_figures
from tests.bench import tasks as task_figures
from tests.bench.report import Row, table
from tests.bench.server import ROOT, Server, Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

AGENTS = [
    "burst=stub/tokens-1000",
    "paced=stub/tokens-1000@200",
    "steady=stub/tokens-160@20",
    "long=stub/tokens-4000@20",
]
ALL = [
    "imports",
    "restart",
    "turns",
    "tokens",
    "streams",
    "listing",
    "board",
    "sockets",
    "feeds",
    "tasks",
    "formations",
]


def seed(server: Server, *what: str) -> None:
    command = [sys.executable, "-m", "tests.bench.seed", *what]
    subprocess.run(command, cwd=ROOT, env=server.environ, check=True, timeout=300)


def measure(name: str, server: Server, stub: Stub) -> list[Row]:
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    if name == "imports":
        return figures.imports()
    if name == "restart":
        return figures.restart(server)
    if name == "chaos":
        return chaos.storms()
    if name == "listing":
        seed(server, "sessions", "100000")
    work: dict[str, Callable[[], Coroutine[None, None, list[Row]]]] = {
        "turns": lambda: figures.turns(server, stub),
        "tokens": lambda: figures.tokens(server, stub),
        "streams": lambda: figures.streams(server, stub),
        "listing": lambda: figures.listing(server),
        "board": lambda: board.board(server),
        "sockets": lambda: figures.sockets(server),
        "feeds": lambda: figures.feeds(server),
        "tasks": lambda: task_figures.tasks(server),
        "formations": lambda: formation_figures.formations(server, stub),
    }
    return uvloop.run(work[name]())


def attempt(name: str, server: Server, stub: Stub) -> list[Row]:
    """One failed figure does not hide the others."""
    try:
        return measure(name, server, stub)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        return [Row(name, f"failed: {type(error).__name__}: {error}"[:200], "", met=False)]


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--only", default=",".join(ALL))
    args.add_argument("--keep", action="store_true", help="keep the folder with data and log")
    chosen = args.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    folder = Path(tempfile.mkdtemp(prefix="polymux-bench-"))
    stub = Stub()
    rows: list[Row] = []
    try:
        with Server(folder, stub) as server:
            first = server.start()
            rows.append(Row("first start (set-up included)", f"{first:.1f} s", "", met=True))
            seed(server, "agents", *AGENTS)
            for name in chosen.only.split(","):
                rows += attempt(name, server, stub)
    finally:
        stub.stop()
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(table(rows))


if __name__ == "__main__":
    main()
