"""The measurements of formations: deploys, what an idle one weighs, health, chat, updates, restarts.

The bundles go in by the signed routes of the management API, as clients send them; many idle formations
are rows (`seed.py formations`), as a deploy leaves them.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import itertools
import json
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import httpx
from muxi.auth import build_auth_header

from tests.bench.client import connect
from tests.bench.report import Row, middle, percentile
from tests.bench.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.client import Http
    from tests.bench.server import Server, Stub

IDLE, RESTARTED, UPDATES, DEPLOYS = 500, 200, 20, 5
RATE = 50.0  # requests a second while updates go on
ROUNDS = 40
CLIENT_KEY, ADMIN_KEY = "fmc_bench_client_key", "fma_bench_admin_key"
FILE = """\
schema: "1.0.0"
id: {slug}
name: Bench
description: Answers short questions.
version: "{version}"
llm:
  models:
    - text: "stub/instant"
agents:
  - id: helper
    name: Helper
    description: Answers short questions.
    system_message: Answer in one sentence.
server:
  api_keys:
    admin_key: {admin}
    client_key: {client}
"""


async def formations(server: Server, stub: Stub) -> list[Row]:
    """In this order: the busy ones first, then the five hundred."""
    signer = Signer(server)
    rows = [_deploys(signer)]
    port = signer.port_of("bench-0")
    rows += [await _health(port, server.port), await _chat(port, stub)]
    rows.append(await _updates(signer, port))
    few = _seeded(server, RESTARTED)
    await asyncio.to_thread(_wait_for_all, few)
    rows.append(await asyncio.to_thread(_restart, server, few))
    rows.append(await asyncio.to_thread(_weight, server))
    return rows


class Signer:
    """A client of the management API, with a key made for this run."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        self.key, self.secret = _seed(server, "signing-key").split()

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """The answer's data; an error says what went wrong."""
        signed = build_auth_header(self.key, self.secret, method, path)
        sent = {"Authorization": signed, "Content-Type": "application/gzip"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.http.request(method, path, content=body, headers=sent)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()["data"]

    def port_of(self, slug: str) -> int:
        return int(self.send("GET", f"/rpc/formations/{slug}")["port"])


def _seed(server: Server, *what: str) -> str:
    command = [sys.executable, "-m", "tests.bench.seed", *what]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=server.environ,
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def bundle(slug: str, version: str) -> bytes:
    """The tar.gz of a formation of one agent, with its keys."""
    text = FILE.format(slug=slug, version=version, admin=ADMIN_KEY, client=CLIENT_KEY).encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo(f"{slug}/formation.afs")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return made.getvalue()


def _is_healthy(port: int) -> bool:
    """By the standard library's client: another one's start costs more than what is measured."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _deploys(signer: Signer) -> Row:
    """From sending the bundle to the first 200 on the formation's own port."""
    seconds = []
    for number in range(DEPLOYS):
        slug = f"bench-{number}"
        archive = bundle(slug, "1.0.0")
        begun = time.perf_counter()
        port = signer.send("POST", "/rpc/formations", archive, X_Formation_ID=slug)["port"]
        while not _is_healthy(port):
            time.sleep(0.002)
        seconds.append(time.perf_counter() - begun)
    took = middle(seconds)
    return Row("deploy a small formation to healthy", f"{took:.2f} s", "<= 0.5 s", took <= 0.5)


async def _health(port: int, main: int) -> Row:
    here = await _rate(port, "/v1/health")
    floor = await _rate(main, "/health")
    return Row(
        "GET /v1/health on a formation's port, one connection",
        f"{here:,.0f} req/s",
        ">= 1,500 req/s",
        here >= 1500,
        f"/health of the server {floor:,.0f} req/s",
        here / floor,
    )


async def _rate(port: int, path: str, seconds: float = 3.0) -> float:
    client, count = await connect(port), 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        status, _ = await client.ask("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status}")
        count += 1
    took = time.perf_counter() - begun
    client.close()
    return count / took


async def _chat(port: int, stub: Stub) -> Row:
    """One connection, no stream: the whole exchange less the same model's own answer."""
    question = {"model": "instant", "messages": [{"role": "user", "content": "Say something."}]}
    direct = await connect(stub.port)
    inside = await _connect(port)
    body = {"message": "Say something.", "stream": False}
    floor = await _times(direct, "/v1/chat/completions", question)
    whole = await _times(inside, "/v1/chat", body)
    direct.close()
    inside.close()
    over = (middle(whole) - middle(floor)) * 1000
    return Row(
        "chat, instant stub, beyond the stub's own time",
        f"{over:.1f} ms (p95 {(percentile(whole, 95) - middle(floor)) * 1000:.1f})",
        "<= 12 ms",
        over <= 12,
        f"stub {middle(floor) * 1000:.1f} ms",
        middle(whole) / middle(floor),
    )


async def _connect(port: int) -> Http:
    """A connection that shows the formation's client key, and a user."""
    client = await connect(port)
    client._fixed += f"X-MUXI-CLIENT-KEY: {CLIENT_KEY}\r\nX-Muxi-User-ID: bench\r\n".encode()
    return client


async def _times(client: Http, path: str, body: Any) -> list[float]:
    seconds = []
    for number in range(ROUNDS + 5):
        begun = time.perf_counter()
        status, answer = await client.ask("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer[:300]!r}")
        if number >= 5:  # the first ones load what a turn needs
            seconds.append(time.perf_counter() - begun)
    return seconds


async def _updates(signer: Signer, port: int) -> Row:
    """Updates one after the other while requests come in at a steady rate; every second one is a chat."""
    stop = asyncio.Event()
    load = asyncio.create_task(_steady(port, stop))
    for number in range(UPDATES):
        archive = bundle("bench-0", f"1.0.{number + 1}")
        await asyncio.to_thread(signer.send, "PUT", "/rpc/formations/bench-0", archive)
    stop.set()
    statuses = await load
    lost = sum(status != 200 for status in statuses)
    return Row(
        f"requests lost during {UPDATES} updates at {RATE:.0f} req/s",
        f"{lost} of {len(statuses)}",
        "0",
        lost == 0,
    )


async def _steady(port: int, stop: asyncio.Event) -> list[int]:
    """The status of each request, 0 for one that got no answer."""
    chats: Iterator[bool] = itertools.cycle((True, False))
    asked: list[asyncio.Task[int]] = []
    begun = time.perf_counter()
    limits = httpx.Limits(max_connections=40)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits) as client:
        while not stop.is_set():
            asked.append(asyncio.create_task(_one(client, chat=next(chats))))
            await asyncio.sleep(max(0.0, begun + len(asked) / RATE - time.perf_counter()))
        return list(await asyncio.gather(*asked))


async def _one(client: httpx.AsyncClient, *, chat: bool) -> int:
    headers = {"X-MUXI-CLIENT-KEY": CLIENT_KEY, "X-Muxi-User-ID": "bench"}
    try:
        if not chat:
            return (await client.get("/v1/health", timeout=30)).status_code
        body = {"message": "Say something.", "stream": False}
        return (await client.post("/v1/chat", json=body, headers=headers, timeout=30)).status_code
    except httpx.HTTPError:
        return 0


def _seeded(server: Server, count: int) -> list[int]:
    """The ports of `count` further formations, made as rows."""
    ports: list[int] = json.loads(_seed(server, "formations", str(count)))
    return ports


def _wait_for_all(ports: list[int], patience: float = 60.0) -> float:
    """Seconds until every port answers that its formation is healthy."""
    begun, waiting = time.perf_counter(), list(ports)
    while waiting:
        if time.perf_counter() - begun > patience:
            raise RuntimeError(f"{len(waiting)} formations are not healthy: {waiting[:5]} …")
        waiting = [port for port in waiting if not _is_healthy(port)]
    return time.perf_counter() - begun


def _restart(server: Server, ports: list[int]) -> Row:
    """From the command to the last of them healthy, beside those that were deployed."""
    server.stop()
    begun = time.perf_counter()
    bare = server.start()
    _wait_for_all(ports)
    took = time.perf_counter() - begun
    return Row(
        f"restart with {len(ports)} formations to all healthy",
        f"{took:.2f} s",
        "<= 8 s",
        took <= 8,
        f"/health {bare:.2f} s",
        took / bare,
    )


def _weight(server: Server) -> Row:
    """Further idle formations, each asked once whether it is healthy; the server and its database."""
    time.sleep(5)
    own, whole = server.pss(everything=False), server.pss()
    ports = _seeded(server, IDLE - RESTARTED)
    _wait_for_all(ports)
    time.sleep(5)
    each = (server.pss(everything=False) - own) / len(ports)
    all_each = (server.pss() - whole) / len(ports)
    return Row(
        f"memory for each further idle formation, {IDLE} on one gateway",
        f"{each:.3f} MB (with PostgreSQL {all_each:.3f})",
        "<= 0.5 MB",
        max(each, all_each) <= 0.5,
    )
