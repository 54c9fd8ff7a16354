"""The measurements of tasks: how fast the next one starts, and what fifty at work weigh."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.client import Http, connect
from tests.bench.report import Row
from tests.bench.server import ROOT

if TYPE_CHECKING:
    from tests.bench.server import Server

API = "/api/v1/tasks"
AT_WORK = 50


async def tasks(server: Server) -> list[Row]:
    return [_claims(server), await _weight(server)]


def _claims(server: Server, few: int = 100, many: int = 10_000) -> Row:
    """In a process of its own on the same database, inside one transaction that is undone."""
    command = [sys.executable, "-m", "tests.bench.claims", str(few), str(many)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=server.environ,
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    near, far = (float(line) for line in done.stdout.split()[-2:])
    return Row(
        f"start the next of {many:,} ready tasks",
        f"{far:.1f} ms",
        "<= 10 ms, constant",
        far <= 10 and far <= near * 1.5 + 1,
        f"of {few} ready: {near:.1f} ms",
        far / near,
    )


async def _weight(server: Server) -> Row:
    """The first of them loads what a run needs; the others are what a task costs."""
    client = await connect(server.port, server.token)
    ids = [await _start(client, 0)]
    await _until_at_work(client, 1)
    before = server.pss(everything=False)
    ids += [await _start(client, number) for number in range(1, AT_WORK + 1)]
    await _until_at_work(client, AT_WORK + 1)
    weight = (server.pss(everything=False) - before) / AT_WORK
    for task in ids:
        await client.ask("POST", f"{API}/{task}/kill", {})
    client.close()
    return Row(
        f"server memory a task, {AT_WORK} at work", f"{weight:.2f} MB", "<= 3 MB", weight <= 3
    )


async def _start(client: Http, number: int) -> str:
    body = {"title": f"Bench {number}", "description": "Say much.", "assignTo": "long"}
    status, answer = await client.ask("POST", API, body)
    if status != 201:
        raise RuntimeError(f"{status}: {answer[:300]!r}")
    return str(json.loads(answer)["data"]["id"])


async def _until_at_work(client: Http, count: int, patience: float = 30.0) -> None:
    for _ in range(round(patience / 0.5)):
        await asyncio.sleep(0.5)
        _, answer = await client.ask("GET", "/api/v1/agents/processes")
        if sum(process["alive"] for process in json.loads(answer)["data"]) >= count:
            await asyncio.sleep(3)  # their first tokens
            return
    raise RuntimeError(f"{count} tasks are not at work after {patience:.0f} s")
