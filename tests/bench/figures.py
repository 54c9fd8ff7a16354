"""The measurements. Each returns rows for the table; none asserts a time."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.bench.client import Feed, Http, Socket, connect, listen, subscribe
from tests.bench.report import Row, middle, percentile
from tests.bench.server import ROOT

if TYPE_CHECKING:
    from tests.bench.server import Server, Stub

CHAT = "/v1/chat/completions"
ROUNDS = 3
HEAVY = ["twisted", "daphne", "openai", "pydantic_ai", "onnxruntime", "xllamacpp", "mcp"]


def question(model: str, *, stream: bool = False) -> dict[str, Any]:
    return {
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": "Say something."}],
    }


# --- Start-up ---------------------------------------------------------------------------------
def restart(server: Server) -> list[Row]:
    """Stop and start an installation that exists; then leave it alone and weigh it."""
    bare = _import_seconds("polymux.asgi")
    seconds = []
    for _ in range(ROUNDS):
        server.stop()
        seconds.append(server.start())
    time.sleep(5)
    own, whole = server.pss(everything=False), server.pss()
    took = middle(seconds)
    return [
        Row(
            "restart to first 200 on /health",
            f"{took:.2f} s",
            "<= 5 s",
            took <= 5,
            f"import polymux.asgi {bare:.2f} s",
            took / bare,
        ),
        Row(
            "idle PSS with PostgreSQL",
            f"{whole:.0f} MB (server {own:.0f})",
            "<= 300 MB",
            whole <= 300,
        ),
    ]


def _import_seconds(module: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True, timeout=120)
    return time.perf_counter() - begun


def imports() -> list[Row]:
    code = f"import sys, polymux.asgi; print([n for n in {HEAVY!r} if n in sys.modules], len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    found = done.stdout.strip().splitlines()[-1]
    return [
        Row(
            "import polymux.asgi",
            f"heavy modules {found.split(']')[0]}]",
            "none",
            found.startswith("[]"),
            f"{found.rsplit(' ', 1)[-1]} modules",
        )
    ]


# --- Turns ------------------------------------------------------------------------------------
async def _turns(port: int, token: str, model: str, seconds: float, lanes: int = 8) -> float:
    """Turns a second over `lanes` kept-alive connections."""
    clients = [await connect(port, token) for _ in range(lanes)]
    done, end = 0, time.perf_counter() + seconds

    async def lane(client: Http) -> None:
        nonlocal done
        while time.perf_counter() < end:
            status, body = await client.ask("POST", CHAT, question(model))
            if status != 200:
                raise RuntimeError(f"{status}: {body[:300]!r}")
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(lane(client) for client in clients))
    for client in clients:
        client.close()
    return done / (time.perf_counter() - begun)


async def turns(server: Server, stub: Stub, seconds: float = 5.0) -> list[Row]:
    await _turns(server.port, server.token, "default", 2)  # warm: pools, threads, caches
    floor = middle([await _turns(stub.port, "x", "instant", 1) for _ in range(ROUNDS)])
    rates, costs = [], []
    for _ in range(ROUNDS):
        before, begun = server.cpu(), time.perf_counter()
        rate = await _turns(server.port, server.token, "default", seconds)
        rates.append(rate)
        costs.append((server.cpu() - before) * 1000 / (rate * (time.perf_counter() - begun)))
    rate, cost = middle(rates), middle(costs)
    polpo = middle([await _turns(server.port, server.token, "", seconds) for _ in range(ROUNDS)])
    return [
        Row(
            "chat completions, 8 connections",
            f"{rate:.0f} turns/s",
            ">= 120",
            rate >= 120,
            f"stub alone {floor:.0f}/s",
            rate / floor,
        ),
        Row("CPU a turn (server process)", f"{cost:.1f} ms", "<= 10 ms", cost <= 10),
        Row(
            "orchestrator's turns as Polpo asks for them, 8 connections",
            f"{polpo:.0f} turns/s",
            ">= 120",
            polpo >= 120,
            "each looks for its newest conversation",
            polpo / floor,
        ),
    ]


# --- Tokens -----------------------------------------------------------------------------------
async def _token_cost(server: Server, model: str, streams: int) -> float:
    """Server CPU in µs for each of the 1000 tokens of `streams` streams at once."""
    clients = [await connect(server.port, server.token) for _ in range(streams)]
    before = server.cpu()
    await asyncio.gather(*(client.stream(CHAT, question(model, stream=True)) for client in clients))
    spent = server.cpu() - before
    for client in clients:
        client.close()
    return spent * 1e6 / (streams * 1000)


async def _first_token(port: int, token: str, model: str, times: int) -> float:
    """Median milliseconds from the request to its first token."""
    client, waits = await connect(port, token), []
    for _ in range(times):
        begun = time.perf_counter()
        waits.append((await client.stream(CHAT, question(model, stream=True)))[0] - begun)
    client.close()
    return middle(waits) * 1000


async def tokens(server: Server, stub: Stub) -> list[Row]:
    await _token_cost(server, "default/burst", 2)
    burst = middle([await _token_cost(server, "default/burst", 4) for _ in range(ROUNDS)])
    paced = middle([await _token_cost(server, "default/paced", 8) for _ in range(ROUNDS)])
    ours, direct = [], []
    for _ in range(ROUNDS):
        ours.append(await _first_token(server.port, server.token, "default", 20))
        direct.append(await _first_token(stub.port, "x", "instant", 20))
    added = middle(ours) - middle(direct)
    return [
        Row("streamed token, 8 streams at 200/s", f"{paced:.0f} us CPU", "<= 80 us", paced <= 80),
        Row("streamed token, as fast as it goes", f"{burst:.0f} us CPU", "<= 80 us", burst <= 80),
        Row(
            "added time to first token, p50",
            f"{added:.1f} ms",
            "<= 8 ms",
            added <= 8,
            f"stub alone {middle(direct):.2f} ms",
            middle(ours) / middle(direct),
        ),
    ]


async def _gaps(port: int, token: str, model: str, streams: int) -> list[float]:
    clients = [await connect(port, token) for _ in range(streams)]

    async def one(index: int, client: Http) -> list[float]:
        await asyncio.sleep(index * 0.01)  # people do not begin in the same millisecond
        times = await client.stream(CHAT, question(model, stream=True))
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    found = await asyncio.gather(*(one(index, client) for index, client in enumerate(clients)))
    for client in clients:
        client.close()
    return [gap for gaps in found for gap in gaps]


async def streams(server: Server, stub: Stub, count: int = 300) -> list[Row]:
    floor = percentile(await _gaps(stub.port, "x", "tokens-160@20", count), 99) * 1000
    before, begun = server.cpu(), time.perf_counter()
    gaps = await _gaps(server.port, server.token, "default/steady", count)
    busy = (server.cpu() - before) / (time.perf_counter() - begun)
    p99 = percentile(gaps, 99) * 1000
    enough = len(gaps) >= count * 150
    return [
        Row(
            f"{count} streams at 20 tokens/s, p99 gap",
            f"{p99:.0f} ms (server {busy:.0%} of a core)",
            "<= 150 ms",
            p99 <= 150 and enough,
            f"stub alone {floor:.0f} ms",
            p99 / floor,
        )
    ]


# --- Lists ------------------------------------------------------------------------------------
async def listing(server: Server, pages: int = 1000) -> list[Row]:
    """Page 1 and page 1000 of 100,000 sessions; the number of queries is tested in tests/contract."""
    client = await connect(server.port, server.token)
    first = "/workspaces/" + await _workspace(client) + "/sessions?limit=50"
    path, deep = first, first
    for _ in range(pages - 1):
        _, body = await client.ask("GET", path)
        deep = path = f"{first}&cursor={json.loads(body)['next_cursor']}"
    near, far = await _latency(client, first), await _latency(client, deep)
    client.close()
    floor = await reads(server, "/livez")
    rate = middle([await reads(server, first) for _ in range(ROUNDS)])
    return [
        Row(
            "list 50 of 100,000 sessions",
            f"{rate:.0f} req/s",
            ">= 250",
            rate >= 250,
            f"/livez {floor:.0f}/s",
            rate / floor,
        ),
        Row(
            "page 1000 against page 1",
            f"{far:.2f} ms against {near:.2f} ms",
            "constant",
            far <= near * 1.5 + 0.5,
            f"page 1 {near:.2f} ms",
            far / near,
        ),
    ]


async def _workspace(client: Http) -> str:
    _, body = await client.ask("GET", "/workspaces")
    return str(json.loads(body)["data"][0]["id"])


async def _latency(client: Http, path: str, times: int = 60) -> float:
    waits = []
    for _ in range(times):
        begun = time.perf_counter()
        status, body = await client.ask("GET", path)
        waits.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"{status}: {body[:300]!r}")
    return middle(waits) * 1000


async def reads(server: Server, path: str, seconds: float = 3.0, lanes: int = 8) -> float:
    clients = [await connect(server.port, server.token) for _ in range(lanes)]
    done, end = 0, time.perf_counter() + seconds

    async def lane(client: Http) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await client.ask("GET", path)
            done += 1

    await asyncio.gather(*(lane(client) for client in clients))
    for client in clients:
        client.close()
    return done / seconds


# --- Sockets ----------------------------------------------------------------------------------
async def sockets(server: Server, count: int = 1000) -> list[Row]:
    """Everybody watches one session while a turn runs in it."""
    client = await connect(server.port, server.token)
    place = await _workspace(client)
    status, body = await client.ask("POST", f"/workspaces/{place}/sessions", {})
    assert status == 201, body
    session = json.loads(body)["id"]
    before = server.pss(everything=False)
    watchers = await _watch(server, session, count)
    weight = (server.pss(everything=False) - before) * 1024 / count
    status, body = await client.ask("POST", f"/sessions/{session}/messages", {"content": "Hello"})
    assert status == 202, body
    took = await _until_the_reply(watchers)
    right = len({tuple(_told(watcher)) for watcher in watchers}) == 1 and _in_order(watchers[0])
    reached = sum(1 for watcher in watchers if _ended(watcher))
    for watcher in watchers:
        watcher.close()
    return [
        Row(
            f"{count} sockets on one session",
            f"{reached} got all, {took * 1000:.0f} ms to the last",
            "all, in order",
            right and reached == count,
        ),
        Row("server memory a socket", f"{weight:.0f} KB", "<= 60 KB", weight <= 60),
    ]


async def _watch(server: Server, session: str, count: int) -> list[Socket]:
    found: list[Socket] = []
    for start in range(0, count, 50):
        batch = range(start, min(start + 50, count))
        found += await asyncio.gather(
            *(listen(server.port, f"/session/{session}/", server.token) for _ in batch)
        )
    await asyncio.sleep(2)
    return found


def _frames(watcher: Socket) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in watcher.frames]


def _told(watcher: Socket) -> list[tuple[str, str]]:
    """What this socket heard of the turn; partial texts may be merged, so they count as one text."""
    told, text = [], ""
    for frame in _frames(watcher):
        payload = frame["payload"]
        if frame["type"] == "message" and payload.get("is_partial"):
            text += payload["content"]
        elif frame["type"] != "session_state":
            told.append((frame["type"], str(payload.get("content", ""))))
    return [*told, ("text", text)]


def _in_order(watcher: Socket) -> bool:
    numbers = [frame["seq"] for frame in _frames(watcher) if frame.get("seq") is not None]
    return numbers == sorted(numbers)


def _ended(watcher: Socket) -> bool:
    return any(
        frame["type"] == "message"
        and frame["payload"].get("role") == "assistant"
        and not frame["payload"].get("is_partial")
        for frame in _frames(watcher)
    )


async def _until_the_reply(watchers: list[Socket], patience: float = 30.0) -> float:
    """Seconds until the last of them has the whole reply."""
    begun = time.perf_counter()
    waiting = list(watchers)
    while waiting and time.perf_counter() - begun < patience:
        await asyncio.sleep(0.02)
        waiting = [watcher for watcher in waiting if not _ended(watcher)]
    return time.perf_counter() - begun


# --- Events -----------------------------------------------------------------------------------
KEY_OPENS = 150  # streams a key may open at once; its window is 200 requests a minute


async def feeds(server: Server, count: int = 500, rounds: int = 100) -> list[Row]:
    """From the request that makes an event to each of its subscribers, one event at a time.

    An event's figure is the p99 of its own subscribers; the row gives the middle of all events and,
    beside it, the p99 of all waits, in which the neighbours on this machine have their part.
    """
    client = await connect(server.port, server.token)
    place = await _workspace(client)
    alone = [await _event(client, place, []) for _ in range(rounds)]
    watchers = await _subscribe(server, client, place, count)
    await _event(client, place, watchers)  # warm
    before = server.cpu()
    waits: list[list[float]] = []
    for _ in range(rounds):
        moment = time.perf_counter()
        await _event(client, place, watchers)
        waits.append([watcher.heard[-1][1] - moment for watcher in watchers])
        await asyncio.sleep(0.05)
    cost = (server.cpu() - before) * 1000 / rounds
    right = len({tuple(number for number, _ in watcher.heard) for watcher in watchers}) == 1
    for watcher in watchers:
        watcher.close()
    each = middle([percentile(found, 99) for found in waits]) * 1000
    every = percentile([wait for found in waits for wait in found], 99) * 1000
    floor = middle(alone) * 1000
    return [
        Row(
            f"SSE: 1 event to {count} subscribers, p99",
            f"{each:.0f} ms (of all events {every:.0f} ms, {cost:.0f} ms CPU an event)",
            "<= 100 ms, all, in order",
            each <= 100 and right,
            f"the request alone {floor:.0f} ms",
            each / floor,
        )
    ]


async def _subscribe(server: Server, client: Http, place: str, count: int) -> list[Feed]:
    keys = [await _key(client, place) for _ in range(-(-count // KEY_OPENS))]
    path = "/api/v1/events?filter=session:*"
    return [
        await subscribe(server.port, path, keys[number // KEY_OPENS]) for number in range(count)
    ]


async def _key(client: Http, place: str) -> str:
    made = {"name": "feeds", "scope": "read", "workspace": place}
    status, body = await client.ask("POST", "/tokens", made)
    if status != 201:
        raise RuntimeError(f"{status}: {body[:300]!r}")
    return str(json.loads(body)["token"])


async def _event(client: Http, place: str, watchers: list[Feed]) -> float:
    """Open a session and wait until everybody has heard of it; seconds to the answer."""
    known = [len(watcher.heard) for watcher in watchers]
    moment = time.perf_counter()
    status, body = await client.ask("POST", f"/workspaces/{place}/sessions", {})
    answered = time.perf_counter() - moment
    assert status == 201, body
    while not all(len(w.heard) > before for w, before in zip(watchers, known, strict=True)):
        if time.perf_counter() - moment > 10:
            raise RuntimeError("not everybody heard")
        await asyncio.sleep(0.01)
    return answered
