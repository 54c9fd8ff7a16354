"""Server-sent events and streaming HTTP over a real server, and Django beside them."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from httpx_sse import aconnect_sse

from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.events import sse
from apps.events.models import Event
from tests.events import rooms
from tests.events.conftest import tell_soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GOOD = {"Authorization": "Bearer good"}


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    rooms.ALLOWED.add("good")
    with rooms.served() as number:
        yield number


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=GOOD) as made:
        yield made


def feed(actor: Actor) -> str:
    return f"/workspaces/{actor.workspace_id}/feed"


async def take(client: httpx.AsyncClient, path: str, count: int, **options: Any) -> list[Any]:
    got = []
    async with asyncio.timeout(15), aconnect_sse(client, "GET", path, **options) as source:
        async for event in source.aiter_sse():
            got.append(event)
            if len(got) == count:
                return got
    return got


async def test_a_feed_resumes_after_the_last_event_id(
    client: httpx.AsyncClient, actor: Actor
) -> None:
    await tell_soon(actor, *(f"{n}\nline" for n in range(6)))
    first = await take(client, feed(actor), 2, headers={"Last-Event-ID": "1"})
    assert [event.id for event in first] == ["2", "3"]
    assert json.loads(first[0].data)["text"] == "1\nline"
    assert first[0].event == "test.told"
    assert first[0].retry is None or first[0].retry == sse.RETRY_MS
    rest = await take(client, f"{feed(actor)}?lastEventId={first[-1].id}", 3)
    assert [event.id for event in rest] == ["4", "5", "6"]


async def test_a_feed_is_live(client: httpx.AsyncClient, actor: Actor) -> None:
    taking = asyncio.create_task(take(client, feed(actor), 2))
    await asyncio.sleep(0.5)
    await tell_soon(actor, "one")
    await tell_soon(actor, "two")
    assert [json.loads(event.data)["text"] for event in await taking] == ["one", "two"]


async def test_a_feed_says_when_it_cannot_go_on_without_a_gap(
    client: httpx.AsyncClient, actor: Actor
) -> None:
    await tell_soon(actor, *(str(n) for n in range(6)))
    await db_call(Event.objects.filter(seq__lte=3).delete)
    got = await take(client, feed(actor), 2, headers={"Last-Event-ID": "1"})
    assert got[0].event == "gap"
    assert json.loads(got[0].data) == {"since": 1, "resumed_at": 3}
    assert got[1].id == "4"


async def test_a_quiet_feed_keeps_the_connection_alive(
    client: httpx.AsyncClient, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    async with asyncio.timeout(10), client.stream("GET", feed(actor)) as response:
        seen = ""
        async for text in response.aiter_text():
            seen += text
            if seen.count(": keep-alive\n\n") == 2:
                break
    assert seen.startswith("retry: 3000\n")
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_a_refused_feed_answers_in_the_words_of_its_surface(
    client: httpx.AsyncClient, actor: Actor
) -> None:
    answer = await client.get(feed(actor), headers={"Authorization": "Bearer bad"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_what_breaks_after_the_first_byte_is_told_in_band(client: httpx.AsyncClient) -> None:
    answer = await client.post("/echo", content=b"hello ")
    assert (answer.status_code, answer.text) == (200, "hello [broken]")


async def test_a_streams_body_is_capped_before_it_is_read(
    client: httpx.AsyncClient, settings: Any
) -> None:
    settings.MAX_BODY_BYTES = 1000
    answer = await client.post("/echo", content=b"x" * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def chunks(count: int, size: int = 500) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize("path", ["/echo", "/me"])
async def test_a_chunked_body_is_counted(
    client: httpx.AsyncClient, settings: Any, path: str
) -> None:
    settings.MAX_BODY_BYTES = 1000
    answer = await client.post(
        path, content=chunks(3), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_django_answers_everything_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/there/is/no/such/route")
    assert answer.status_code in {401, 404}
    assert answer.json()["request_id"]


async def test_a_request_beyond_the_queue_is_asked_to_come_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymux.bridge.MOST_WAITING", -1000)
    answer = await client.get("/me")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "unavailable"


def test_a_block_keeps_each_line_of_its_data() -> None:
    assert sse.block("a\nb", event="e", id=3) == b"id: 3\nevent: e\ndata: a\ndata: b\n\n"


@pytest.mark.parametrize("said", ["", "x", "-1", "1.5", "9" * 30, "٣"])
def test_a_malformed_last_event_id_is_none(said: str) -> None:
    assert sse.last_event_id({"last-event-id": said}, {}) is None


def test_a_header_with_an_underscore_does_not_pose_as_another() -> None:
    from polymux.bridge import build_environ

    scope = {
        "method": "GET",
        "path": "/é",
        "raw_path": b"/%C3%A9",
        "query_string": b"a=1",
        "http_version": "1.1",
        "headers": [(b"x_forwarded_for", b"6.6.6.6"), (b"cookie", b"a=1"), (b"cookie", b"b=2")],
    }
    environ = build_environ(scope, io.BytesIO())
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["RAW_URI"] == "/%C3%A9?a=1"
