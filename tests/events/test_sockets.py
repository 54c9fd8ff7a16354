"""Over a real server: the handshake, the envelope, limits, close codes (contract/polymux.md §11)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.core import aio
from apps.core.actor import Actor
from apps.core.ids import uuid7, wire_id
from apps.events import frames, stream
from apps.events import hub as hubs
from apps.events import socket as sockets
from tests.events import rooms
from tests.events.conftest import tell_soon

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = {"Authorization": "Bearer good"}


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    rooms.ALLOWED.add("good")
    with rooms.served() as number:
        yield number


def url(port: int, actor: Actor, **query: Any) -> str:
    words = "&".join(f"{key}={value}" for key, value in query.items())
    return f"ws://127.0.0.1:{port}/workspace/{actor.workspace_id}/?{words}"


async def frame(ws: Any, patience: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(patience):
        return json.loads(await ws.recv())


async def closing(ws: Any, patience: float = 20) -> ConnectionClosed:
    async with asyncio.timeout(patience):
        while True:
            try:
                await ws.recv()
            except ConnectionClosed as closed:
                return closed


@pytest.mark.parametrize(
    ("headers", "path", "status", "code"),
    [
        ({}, "", 401, "token_missing"),
        ({"Authorization": "Bearer bad"}, "", 401, "token_invalid"),
        ({"Authorization": "Bearer reader"}, "", 403, "scope_insufficient"),
        (GOOD, "0", 404, "not_found"),
        ({**GOOD, "Origin": "https://evil.example"}, "", 403, "forbidden"),
    ],
)
async def test_a_refusal_is_an_http_answer_before_the_handshake(
    port: int, actor: Actor, headers, path: str, status: int, code: str
) -> None:
    address = url(port, actor).replace("/workspace/", f"/workspace/{path}")
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, additional_headers=headers)
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["code"] == code


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:3000"])
async def test_our_own_pages_and_the_listed_origins_may_connect(
    port: int, actor: Actor, origin: str
) -> None:
    headers = {**GOOD, "Origin": origin.format(port=port)}
    async with connect(url(port, actor), additional_headers=headers) as ws:
        assert (await frame(ws))["type"] == "session_state"


async def test_the_token_may_come_as_a_subprotocol(port: int, actor: Actor) -> None:
    async with connect(url(port, actor), subprotocols=["polymux.v1", "bearer.good"]) as ws:
        assert ws.subprotocol == "polymux.v1"
        assert (await frame(ws))["type"] == "session_state"


async def test_the_token_may_come_in_the_query(port: int, actor: Actor) -> None:
    async with connect(url(port, actor, token="good")) as ws:
        assert (await frame(ws))["type"] == "session_state"


async def test_an_unknown_socket_is_not_found(port: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{port}/nowhere")
    assert refused.value.response.status_code == 404


async def test_facts_arrive_in_the_envelope(port: int, actor: Actor) -> None:
    session = uuid7()
    spelled = wire_id("ses", session)
    async with connect(url(port, actor, session=spelled), additional_headers=GOOD) as ws:
        await frame(ws)
        seq = await tell_soon(actor, "hello", session_id=session)
        got = await frame(ws)
    assert got["type"] == "told"
    assert got["payload"] == {"text": "hello"}
    assert got["seq"] == frames.wire_seq(seq, 0)
    assert got["session_id"] == spelled
    assert set(got) == {"type", "payload", "id", "timestamp", "session_id", "seq"}


async def test_a_reconnect_with_since_gets_exactly_the_missing_facts_and_tokens(
    port: int, actor: Actor
) -> None:
    session, run = uuid7(), uuid7()
    address = url(port, actor, session=wire_id("ses", session))

    def say(text: str) -> None:
        aio.home_loop().call_soon_threadsafe(frames.append, session, run, text)

    async with connect(address, additional_headers=GOOD) as ws:
        await frame(ws)
        await tell_soon(actor, "question", session_id=session)
        await frame(ws)
        say("one ")
        last = await frame(ws)
        assert last["payload"]["content"] == "one "
    say("two ")
    await tell_soon(actor, "call", session_id=session)
    say("three")
    await asyncio.sleep(0.1)
    async with connect(f"{address}&since={last['seq']}", additional_headers=GOOD) as ws:
        got = [await frame(ws) for _ in range(4)]
    assert got[0]["payload"] == {"resync": False}
    assert [f["payload"].get("content") or f["payload"]["text"] for f in got[1:]] == [
        "two ",
        "call",
        "three",
    ]


async def test_a_ping_is_answered(port: int, actor: Actor) -> None:
    async with connect(url(port, actor), additional_headers=GOOD) as ws:
        await frame(ws)
        await ws.send('{"type":"ping","payload":{"n":1}}')
        assert (await frame(ws))["payload"] == {"n": 1}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no json", "BAD_FRAME"),
        ("[]", "BAD_FRAME"),
        ('{"type":7}', "BAD_FRAME"),
        ('{"type":"say","payload":[]}', "BAD_FRAME"),
        ('{"type":"unheard"}', "BAD_FRAME"),
        ("[" * 100_000, "BAD_FRAME"),
        (b"\x00binary", "BAD_FRAME"),
        ('{"type":"say","payload":{"text":"forbidden"}}', "SCOPE_INSUFFICIENT"),
        ('{"type":"say","payload":{"text":"boom"}}', "INTERNAL"),
    ],
)
async def test_a_frame_that_fails_is_told_and_the_socket_lives_on(
    port: int, actor: Actor, text: Any, code: str
) -> None:
    async with connect(url(port, actor), additional_headers=GOOD) as ws:
        await frame(ws)
        await ws.send(text)
        error = await frame(ws)
        assert (error["type"], error["payload"]["code"]) == ("error", code)
        await ws.send('{"type":"say","payload":{"text":"fine"}}')
        assert (await frame(ws))["type"] == "said"


async def test_ten_bad_frames_in_a_row_close_with_4400(port: int, actor: Actor) -> None:
    async with connect(url(port, actor), additional_headers=GOOD) as ws:
        for _ in range(10):
            await ws.send("bad")
        assert (await closing(ws)).rcvd.code == 4400


async def test_more_than_120_frames_a_minute_are_refused_and_then_closed(
    port: int, actor: Actor
) -> None:
    async with connect(url(port, actor), additional_headers=GOOD) as ws:
        for _ in range(125):
            await ws.send('{"type":"ping"}')
        got = [await frame(ws) for _ in range(126)]
        assert [f["payload"].get("code") for f in got[1:121]] == [None] * 120
        assert got[-1]["payload"]["code"] == "RATE_LIMITED"
        for _ in range(140):
            await ws.send('{"type":"ping"}')
        assert (await closing(ws)).rcvd.code == 4429


async def test_a_frame_beyond_256_kib_is_refused_by_the_server(port: int, actor: Actor) -> None:
    async with connect(url(port, actor), additional_headers=GOOD) as ws:
        await frame(ws)
        await ws.send('{"type":"' + "x" * 300_000 + '"}')
        assert (await closing(ws)).rcvd.code == 1009


async def test_the_last_fact_closes_with_4410(port: int, actor: Actor) -> None:
    session = uuid7()
    address = url(port, actor, session=wire_id("ses", session))
    async with connect(address, additional_headers=GOOD) as ws:
        await frame(ws)
        await tell_soon(actor, "the end", session_id=session)
        assert (await frame(ws))["payload"]["text"] == "the end"
        assert (await closing(ws)).rcvd.code == 4410


async def test_a_credential_that_was_taken_away_closes_with_4401(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.2)
    rooms.ALLOWED.add("good")
    with rooms.served() as port:
        async with connect(url(port, actor), additional_headers=GOOD) as ws:
            await frame(ws)
            rooms.ALLOWED.discard("good")
            assert (await closing(ws, 3)).rcvd.code == 4401


@pytest.mark.slow
async def test_a_client_that_does_not_read_is_closed_with_4008_and_its_cursor(
    port: int, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(stream, "QUEUE_FRAMES", 8)
    async with connect(url(port, actor), additional_headers=GOOD, max_queue=1) as ws:
        await frame(ws)
        big = "x" * 200_000
        for _ in range(80):
            await tell_soon(actor, big)
        await asyncio.sleep(1.5)
        closed = await closing(ws)
        assert closed.rcvd.code == 4008
        since = int(closed.rcvd.reason.removeprefix("since="))
        assert 0 < since < 80


async def test_every_one_of_a_hundred_sockets_gets_every_frame_in_order(
    port: int, actor: Actor
) -> None:
    session = uuid7()
    address = url(port, actor, session=wire_id("ses", session))
    clients = await asyncio.gather(*(connect(address, additional_headers=GOOD) for _ in range(100)))
    for n in range(20):
        await tell_soon(actor, str(n), session_id=session)

    async def read(ws: Any) -> list[str]:
        got = [await frame(ws, 30) for _ in range(21)]
        return [f["payload"]["text"] for f in got[1:]]

    answers = await asyncio.gather(*(read(ws) for ws in clients))
    assert all(answer == [str(n) for n in range(20)] for answer in answers)
    await asyncio.gather(*(ws.close() for ws in clients))


async def test_a_server_that_stops_closes_its_sockets_with_1001_or_1012(actor: Actor) -> None:
    rooms.ALLOWED.add("good")
    with rooms.served() as port:
        ws = await connect(url(port, actor), additional_headers=GOOD)
        await frame(ws)
    assert (await closing(ws)).rcvd.code in {1001, 1012}


async def test_a_peer_that_answers_no_ping_is_dropped_with_4408(actor: Actor) -> None:
    rooms.ALLOWED.add("good")
    with rooms.served(ws_ping_interval=0.2, ws_ping_timeout=0.4) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /workspace/{actor.workspace_id}/?token=good HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            said = await reader.read()
        writer.close()
    assert b"\x89\x04" in said, "a ping"
    assert (4408).to_bytes(2, "big") + b"heartbeat lost" in said


def test_the_limits_are_those_of_the_contract() -> None:
    assert (sockets.FRAME_BYTES, sockets.FRAMES_A_MINUTE, sockets.BAD_IN_A_ROW) == (
        262_144,
        120,
        10,
    )
