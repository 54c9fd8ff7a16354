"""The measurements of a board: a list of tasks asked for again and again, and tasks added to it."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from tests.bench.client import Http, connect
from tests.bench.figures import ROUNDS, reads
from tests.bench.report import Row, middle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from tests.bench.server import Server


async def board(server: Server, rows: int = 500) -> list[Row]:
    """A polpo board: it asks for all its tasks again and again, and adds drafts."""
    client = await connect(server.port, server.token)
    await _add_tasks(client, "default", range(rows))
    client.close()
    numbers = itertools.count(rows)
    floor = await reads(server, "/livez")
    listed, list_cost = await _measured(server, lambda: reads(server, "/api/v1/tasks?limit=500"))
    added, add_cost = await _measured(server, lambda: _adds(server, numbers))
    return [
        Row(
            f"GET {rows} tasks, 8 connections",
            f"{listed:.0f} req/s, {list_cost:.2f} ms CPU each",
            ">= 300",
            listed >= 300,
            f"/livez {floor:.0f}/s",
            listed / floor,
        ),
        Row(
            "POST a draft task, 8 connections",
            f"{added:.0f} req/s, {add_cost:.2f} ms CPU each",
            ">= 350",
            added >= 350,
            f"/livez {floor:.0f}/s",
            added / floor,
        ),
    ]


async def _measured(server: Server, work: Callable[[], Awaitable[float]]) -> tuple[float, float]:
    """(requests a second, CPU ms of the server's process a request): the middle of several rounds."""
    await work()
    rates, costs = [], []
    for _ in range(ROUNDS):
        before, begun = server.cpu(), time.perf_counter()
        rate = await work()
        rates.append(rate)
        costs.append((server.cpu() - before) * 1000 / (rate * (time.perf_counter() - begun)))
    return middle(rates), middle(costs)


async def _add_tasks(client: Http, prefix: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        status, body = await client.ask("POST", "/api/v1/tasks", _draft(f"{prefix} {number}"))
        if status != 201:
            raise RuntimeError(f"{status}: {body[:300]!r}")


def _draft(title: str) -> dict[str, Any]:
    return {
        "title": title,
        "description": "Write a poem about the sea, in four lines, that rhymes.",
        "assignTo": "orchestrator",
        "group": "bench",
        "draft": True,
    }


async def _adds(
    server: Server, numbers: Iterator[int], seconds: float = 3.0, lanes: int = 8
) -> float:
    clients = [await connect(server.port, server.token) for _ in range(lanes)]
    done, end = 0, time.perf_counter() + seconds

    async def lane(client: Http) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await _add_tasks(client, "More", [next(numbers)])
            done += 1

    await asyncio.gather(*(lane(client) for client in clients))
    for client in clients:
        client.close()
    return done / seconds
