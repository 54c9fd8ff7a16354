"""polpo's events over server-sent events (contract/polpo.md §16), over a real server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from apps.core.aio import db_call
from apps.events import hub as hubs
from apps.events import log
from apps.events.models import Event
from apps.surfaces import polpo
from apps.workspaces.services import revoke_token
from tests.live import feeds
from tests.live.feeds import Feeds, Kept, Noted, Tasked, note_soon, say, told
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

SCOPED, BARE = "/api/v1/projects/aurora/events", "/api/v1/events"


@pytest.fixture
def port(transactional_db, recording_queue):
    with feeds.spoken_notes(), serving() as number:
        yield number


@pytest.fixture
async def open_feed(port, aurora):
    """`await open_feed(path, **headers)`: as Ada."""
    opened = Feeds(port, aurora.ada_token)
    yield opened.open
    await opened.close()


async def test_a_projects_feed_speaks_unnamed_messages(open_feed, aurora):
    feed = await open_feed(SCOPED)
    seq = await note_soon(aurora.ada, "a\nb")
    event = await feed.next()
    assert feed.response.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in feed.response.headers["cache-control"]
    assert (event.event, event.id) == ("message", str(seq))
    assert json.loads(event.data) == {"event": "note:taken", "data": {"text": "a\nb"}}


async def test_the_default_projects_feed_speaks_named_events(open_feed, aurora):
    feed = await open_feed(BARE)
    seq = await note_soon(aurora.ada, "hello")
    event = await feed.next()
    assert (event.event, event.id) == ("note:taken", str(seq))
    assert json.loads(event.data) == {"text": "hello"}


@pytest.mark.parametrize(
    ("path", "event"),
    [(f"{SCOPED}?format=named", "note:taken"), (f"{BARE}?format=message", "message")],
)
async def test_a_reader_may_choose_the_other_form(open_feed, aurora, path, event):
    feed = await open_feed(path)
    await note_soon(aurora.ada, "hello")
    assert (await feed.next()).event == event


async def first_bytes(port, path, **headers):
    async with (
        asyncio.timeout(5),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
        client.stream("GET", path) as answer,
    ):
        return await anext(answer.aiter_bytes())


async def test_the_frames_are_written_as_upstream_writes_them(port, aurora):
    seq = await note_soon(aurora.ada, "last")
    headers = {"X-API-Key": aurora.ada_token, "Last-Event-ID": str(seq - 1)}
    named = b'event: note:taken\ndata: {"text":"last"}\nid: %d\n\n' % seq
    message = b'id: %d\ndata: {"event":"note:taken","data":{"text":"last"}}\n\n' % seq
    assert await first_bytes(port, BARE, **headers) == named
    assert await first_bytes(port, SCOPED, **headers) == message


async def test_a_reader_resumes_by_header_or_query_and_the_header_wins(open_feed, aurora):
    last = await note_soon(aurora.ada, *"abcdef")
    by_header = await open_feed(SCOPED, **{"Last-Event-ID": str(last - 2)})
    assert await by_header.texts(2) == ["e", "f"]
    by_query = await open_feed(f"{BARE}?lastEventId={last - 3}")
    assert await by_query.texts(3) == ["d", "e", "f"]
    both = await open_feed(f"{BARE}?lastEventId={last - 5}", **{"Last-Event-ID": str(last - 1)})
    assert await both.texts(1) == ["f"]
    await note_soon(aurora.ada, "g")
    assert await both.texts(1) == ["g"], "resuming goes over into being live"


async def test_a_fact_is_completed_by_the_app_that_owns_the_row(open_feed, aurora, monkeypatch):
    """Live and in a replay; one call a batch."""

    def whole(workspace_id, rows):
        for row in rows:
            row.payload["text"] += f" of {len(rows)}"

    monkeypatch.setattr(log, "_completers", {Noted.name: [whole]})
    feed = await open_feed(SCOPED)
    last = await note_soon(aurora.ada, "one", "two")
    assert await feed.texts(2) == ["one of 2", "two of 2"]
    again = await open_feed(SCOPED, **{"Last-Event-ID": str(last - 2)})
    assert [text[:3] for text in await again.texts(2)] == ["one", "two"]


@pytest.mark.parametrize("query", ["", "?lastEventId=", "?lastEventId=no-id"])
async def test_without_an_id_a_feed_begins_now(open_feed, aurora, query):
    await note_soon(aurora.ada, "before")
    feed = await open_feed(SCOPED + query)
    await note_soon(aurora.ada, "after")
    assert await feed.texts(1) == ["after"]


async def test_the_last_thousand_events_are_replayed_after_a_gap_notice(open_feed, aurora):
    texts = [str(number) for number in range(1_003)]
    last = await note_soon(aurora.ada, *texts[:500])
    await db_call(say, aurora.ada, *[Kept() for _ in range(100)])
    last = await note_soon(aurora.ada, *texts[500:])
    named = await open_feed(BARE, **{"Last-Event-ID": str(last - 1_102)})
    gap = await named.next()
    assert (gap.event, gap.id) == ("gap", "")
    assert await named.texts(1_000) == texts[3:], "facts without a word do not count"
    assert json.loads(gap.data)["since"] == str(last - 1_102)
    whole = await open_feed(SCOPED, **{"Last-Event-ID": str(last - 1_100)})
    assert await whole.texts(1_000) == texts[3:]


async def test_an_unnamed_feed_tells_the_gap_in_a_comment(port, open_feed, aurora):
    last = await note_soon(aurora.ada, *"abcdef")
    await db_call(Event.objects.filter(workspace_id=aurora.id, seq__lte=last - 3).delete)
    headers = {"X-API-Key": aurora.ada_token, "Last-Event-ID": "1"}
    first = await first_bytes(port, SCOPED, **headers)
    assert first.startswith(b': gap {"since":"1","resumedAt":"%d"}\n\n' % (last - 3))
    parsed = await open_feed(SCOPED, **{"Last-Event-ID": "1"})
    assert await parsed.texts(3) == ["d", "e", "f"], "a parser passes over it"


async def test_an_id_of_another_log_replays_what_there_is(open_feed, aurora):
    await note_soon(aurora.ada, *"abc")
    feed = await open_feed(BARE, **{"Last-Event-ID": "999999999"})
    assert (await feed.next()).event == "gap"
    heard = [await feed.next()]
    while heard[-1].event != "note:taken" or told(heard[-1])["data"]["text"] != "c":
        heard.append(await feed.next())
    notes = [told(event)["data"]["text"] for event in heard if event.event == "note:taken"]
    assert notes == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wanted", "events"),
    [
        ("note:taken", ["note:taken", "note:taken"]),
        ("note:*", ["note:taken", "note:taken", "note:again"]),
        ("task:*,note:again", ["task:retry:blocked", "note:again"]),
        ("task:retry:*", ["task:retry:blocked"]),
        ("*", ["note:taken", "task:retry:blocked", "note:taken", "note:again"]),
    ],
)
async def test_a_filter_takes_names_prefixes_and_everything(open_feed, aurora, wanted, events):
    feed = await open_feed(f"{BARE}?filter={wanted}")
    twice = Noted(text="twice", twice=True)
    await db_call(say, aurora.ada, Noted(text="one"), Kept(), Tasked(text="two"), twice)
    assert [event.event for event in await feed.take(len(events))] == events


async def test_a_fact_of_two_events_is_resumed_whole(open_feed, aurora):
    feed = await open_feed(BARE)
    seq = await db_call(say, aurora.ada, Noted(text="x", twice=True))
    first, second = await feed.take(2)
    assert (first.event, second.event, second.id) == ("note:taken", "note:again", str(seq))
    again = await open_feed(BARE, **{"Last-Event-ID": first.id})
    assert [event.event for event in await again.take(2)] == ["note:taken", "note:again"]


async def test_ids_go_on_after_a_restart(transactional_db, recording_queue, aurora):
    heard = []
    with feeds.spoken_notes():
        for text in ("before", "after"):
            with serving() as port:
                opened = Feeds(port, aurora.ada_token)
                feed = await opened.open(BARE, **({"Last-Event-ID": heard[0].id} if heard else {}))
                await note_soon(aurora.ada, text)
                heard += await feed.take(1)
                await opened.close()
    assert int(heard[1].id) == int(heard[0].id) + 1
    assert [told(event)["data"]["text"] for event in heard] == ["before", "after"]


async def test_a_revoked_key_ends_its_feeds_and_no_others(port, aurora):
    ben, ada = Feeds(port, aurora.ben_token), Feeds(port, aurora.ada_token)
    his, hers = await ben.open(), await ada.open()
    await db_call(revoke_token, aurora.ben_login, aurora.ben_token_id)
    assert await his.ended(5.0)
    await note_soon(aurora.ada, "still here")
    assert await hers.texts(1) == ["still here"]
    await ben.close()
    await ada.close()


async def test_a_member_who_has_left_is_cut_off_by_the_heartbeat(port, aurora, monkeypatch):
    """No news of it reaches this process: the next heartbeat asks."""
    from apps.workspaces.models import Member

    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.3)
    ben = Feeds(port, aurora.ben_token)
    feed = await ben.open()
    gone = Member.objects.in_workspace(aurora.id).filter(user_id=aurora.ben_user.pk)
    await db_call(gone.delete)
    assert await feed.ended(hubs.HEARTBEAT_SECONDS + 6)
    await ben.close()


async def test_heartbeats_differ_by_form(port, aurora, monkeypatch):
    from apps.events import live, sse

    quick = replace(live.FORMS["named"].manner, seconds=0.1)
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(live.feed, "NAMED", replace(live.feed.NAMED, manner=quick))
    monkeypatch.setitem(live.FORMS, "named", live.feed.NAMED)
    key = {"X-API-Key": aurora.ada_token}
    assert await first_bytes(port, SCOPED, **key) == b": heartbeat\n\n"
    assert await first_bytes(port, BARE, **key) == b"event: heartbeat\ndata: \n\n"


# --- Refusals ------------------------------------------------------------------------------------
def ask(port, path, key="", method="GET", **headers):
    shown = ({"X-API-Key": key} if key else {}) | headers
    answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=shown, timeout=10)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", [SCOPED, BARE])
def test_nobody_hears_nothing(port, aurora, path):
    missing = {"ok": False, "error": "Missing API key", "code": "AUTH_REQUIRED"}
    assert ask(port, path) == (401, missing)
    assert ask(port, path, "pmx_wrong")[0] == 401


def test_an_unknown_project_is_not_found(port, aurora):
    status, body = ask(port, "/api/v1/projects/nobody/events", aurora.ada_token)
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert ask(port, "/api/v1/projects/a%00b/events", aurora.ada_token)[0] == 404


def test_the_window_is_counted_before_the_stream_begins(port, aurora, monkeypatch):
    monkeypatch.setattr(polpo, "PER_MINUTE", 0)
    status, body = ask(port, SCOPED, aurora.ada_token)
    assert (status, body["code"]) == (429, "RATE_LIMITED")


@pytest.mark.parametrize("query", ["format=xml", "filter=ta*sk", "filter=" + "a," * 70 + "b"])
def test_a_query_that_cannot_be_meant_is_refused(port, aurora, query):
    query = query.replace("a,", "a{},").format(*range(70))
    status, body = ask(port, f"{SCOPED}?{query}", aurora.ada_token)
    assert (status, body["code"]) == (400, "VALIDATION_ERROR")


def test_a_wrong_method_is_an_unknown_route(port, aurora):
    status, body = ask(port, SCOPED, aurora.ada_token, method="POST")
    assert (status, body["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("where", ["query", "bearer", "header"])
async def test_the_key_may_stand_in_three_places(port, aurora, where):
    opened = Feeds(port, "")
    token = aurora.ada_token
    path = f"{SCOPED}?apiKey={token}" if where == "query" else SCOPED
    headers = {"bearer": {"Authorization": f"Bearer {token}"}, "header": {"X-API-Key": token}}
    feed = await opened.open(path, **headers.get(where, {}))
    await note_soon(aurora.ada, "hello")
    assert await feed.texts(1) == ["hello"]
    await opened.close()
