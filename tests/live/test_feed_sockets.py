"""polpo's events over a WebSocket (contract/polpo.md §17), over a real server."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.core.aio import db_call
from apps.events import live
from apps.surfaces import polpo
from apps.workspaces.services import revoke_token
from tests.live import feeds
from tests.live.feeds import Feeds, Kept, Noted, Tasked, frame, note_soon, say, settled
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

SCOPED, BARE = "/api/v1/projects/aurora/ws", "/api/v1/ws"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def port(transactional_db, recording_queue):
    with feeds.spoken_notes(), serving() as number:
        yield number


@pytest.fixture
def ada(port, aurora):
    return Feeds(port, aurora.ada_token)


async def ask(socket, kind, **fields):
    await socket.send(json.dumps({"type": kind, **fields}))


async def three(actor):
    """A note, a fact without a word, and a task's event."""
    return await db_call(say, actor, Noted(text="note"), Kept(), Tasked(text="task"))


async def heard(socket, count):
    return [(await frame(socket))["event"] for _ in range(count)]


@pytest.mark.parametrize("path", [SCOPED, BARE])
async def test_before_it_subscribes_a_client_hears_everything(ada, aurora, path):
    async with ada.socket(path) as socket:
        seq = await three(aurora.ada)
        first, second = await frame(socket), await frame(socket)
    assert first | {"timestamp": ""} == {
        "type": "event",
        "event": "note:taken",
        "data": {"text": "note"},
        "id": str(seq - 2),
        "timestamp": "",
    }
    assert re.fullmatch(TIME, first["timestamp"])
    assert (second["event"], second["id"]) == ("task:retry:blocked", str(seq))


@pytest.mark.parametrize(
    "fields",
    [
        {"pattern": "task:*"},
        {"patterns": ["task:retry:*"]},
        {"events": ["task:retry:blocked"]},
        {"pattern": "mission:*", "events": ["task:*"]},
    ],
)
async def test_a_subscription_narrows_to_its_patterns(ada, aurora, fields):
    async with ada.socket() as socket:
        await ask(socket, "subscribe", **fields)
        await settled(socket)
        await three(aurora.ada)
        await three(aurora.ada)
        assert await heard(socket, 2) == ["task:retry:blocked"] * 2


async def test_subscriptions_add_up(ada, aurora):
    async with ada.socket() as socket:
        await ask(socket, "subscribe", pattern="task:*")
        await ask(socket, "subscribe", pattern="note:taken")
        await settled(socket)
        await three(aurora.ada)
        assert await heard(socket, 2) == ["note:taken", "task:retry:blocked"]


async def test_subscriptions_are_taken_back(ada, aurora):
    async with ada.socket() as socket, ada.socket() as witness:
        await ask(socket, "subscribe", events=["task:*", "note:taken"])
        await ask(socket, "unsubscribe", pattern="task:*")
        await settled(socket)
        await three(aurora.ada)
        await three(aurora.ada)
        assert await heard(socket, 2) == ["note:taken"] * 2
        await ask(socket, "unsubscribe")
        await settled(socket)
        await three(aurora.ada)
        assert len(await heard(witness, 6)) == 6
        await ask(socket, "subscribe")
        await settled(socket)
        await note_soon(aurora.ada, "again")
        assert (await frame(socket))["data"] == {"text": "again"}, "nothing between, then all"


async def test_a_client_comes_back_with_its_last_id(ada, aurora):
    last = await note_soon(aurora.ada, *"abcd")
    async with ada.socket(f"{SCOPED}?lastEventId={last - 2}") as socket:
        assert [(await frame(socket))["data"]["text"] for _ in range(2)] == ["c", "d"]
        await note_soon(aurora.ada, "e")
        assert (await frame(socket))["data"]["text"] == "e"


async def test_a_subscription_may_bring_the_last_id(ada, aurora):
    await three(aurora.ada)
    last = await three(aurora.ada)
    async with ada.socket() as socket:
        await ask(socket, "subscribe", pattern="task:*", lastEventId=str(last - 6))
        assert await heard(socket, 2) == ["task:retry:blocked"] * 2
        await three(aurora.ada)
        assert await heard(socket, 1) == ["task:retry:blocked"]


async def test_a_gap_is_told_before_the_replay(ada, aurora):
    await note_soon(aurora.ada, "0", "1")
    last = await note_soon(aurora.ada, *map(str, range(2, 1_002)))
    async with ada.socket(f"{SCOPED}?lastEventId={last - 1_001}") as socket:
        gap = await frame(socket)
        assert (gap["type"], gap["data"]) == (
            "gap",
            {"since": str(last - 1_001), "resumedAt": str(last - 1_000)},
        )
        assert (await frame(socket))["data"]["text"] == "2"


async def test_replays_are_counted(ada, aurora, monkeypatch):
    monkeypatch.setattr(live, "MOST_REPLAYS", 1)
    last = await note_soon(aurora.ada, "a")
    async with ada.socket() as socket:
        for _ in range(2):
            await ask(socket, "subscribe", lastEventId=last - 1)
        both = [await frame(socket) for _ in range(2)]
    assert {said.get("event") or said["code"] for said in both} == {"note:taken", "RATE_LIMITED"}


@pytest.mark.parametrize(
    "sent",
    [
        "no json",
        "[]",
        '{"type":"command"}',
        '{"type":"subscribe","pattern":7}',
        '{"type":"subscribe","patterns":"task:*"}',
        '{"type":"subscribe","pattern":"ta*sk"}',
        '{"type":"subscribe","pattern":"task:*","lastEventId":"x"}',
        '{"type":"subscribe","pattern":"task:*","lastEventId":[]}',
        json.dumps({"type": "subscribe", "events": [f"a:{n}" for n in range(65)]}),
    ],
)
async def test_what_cannot_be_read_is_told_and_changes_nothing(ada, aurora, sent):
    async with ada.socket() as socket:
        await socket.send(sent)
        error = await frame(socket)
        assert (error.keys(), error["type"]) == ({"type", "error", "code"}, "error")
        assert error["code"] == "VALIDATION_ERROR"
        await note_soon(aurora.ada, "still everything")
        assert (await frame(socket))["event"] == "note:taken"


async def refusal(ada, path=SCOPED, **headers):
    with pytest.raises(InvalidStatus) as refused:
        async with ada.socket(path, additional_headers=headers):
            pass
    body = json.loads(refused.value.response.body)
    assert body["ok"] is False
    return refused.value.response.status_code, body["code"]


async def test_a_stranger_is_refused_before_the_upgrade(ada, aurora, borealis):
    assert await refusal(ada) == (401, "AUTH_REQUIRED")
    assert await refusal(ada, **{"X-API-Key": "nope"}) == (401, "AUTH_REQUIRED")
    key = {"X-API-Key": borealis.mallory_token}
    assert await refusal(ada, **key) == (404, "NOT_FOUND")
    assert await refusal(ada, "/api/v1/projects/nobody/ws", **key) == (404, "NOT_FOUND")


async def test_a_page_elsewhere_may_not_use_a_visitors_key(ada, aurora):
    path = f"{SCOPED}?apiKey={aurora.ada_token}"
    assert await refusal(ada, path, Origin="https://evil.example") == (403, "FORBIDDEN")


async def test_the_window_is_counted_at_the_handshake(ada, aurora, monkeypatch):
    monkeypatch.setattr(polpo, "PER_MINUTE", 0)
    key = {"X-API-Key": aurora.ada_token}
    assert await refusal(ada, **key) == (429, "RATE_LIMITED")


@pytest.mark.parametrize("where", ["query", "bearer"])
async def test_a_browser_may_bring_its_key_otherwise(ada, aurora, where):
    token = aurora.ada_token
    path = f"{SCOPED}?apiKey={token}" if where == "query" else SCOPED
    headers = {"Authorization": f"Bearer {token}"} if where == "bearer" else {}
    async with ada.socket(path, additional_headers=headers) as socket:
        await note_soon(aurora.ada, "hello")
        assert (await frame(socket))["event"] == "note:taken"


async def test_a_revoked_key_closes_its_sockets(port, aurora):
    async with Feeds(port, aurora.ben_token).socket() as socket:
        await settled(socket)
        await db_call(revoke_token, aurora.ben_login, aurora.ben_token_id)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
    assert closed.value.rcvd.code == 4401


async def test_two_workspaces_do_not_hear_each_other(ada, port, aurora, borealis):
    mallory = Feeds(port, borealis.mallory_token)
    async with ada.socket() as hers, mallory.socket(BARE) as theirs:
        await note_soon(aurora.ada, "for Aurora")
        await note_soon(borealis.mallory, "for Borealis")
        assert (await frame(hers))["data"] == {"text": "for Aurora"}
        assert (await frame(theirs))["data"] == {"text": "for Borealis"}
