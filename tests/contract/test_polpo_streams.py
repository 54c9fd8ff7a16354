"""polpo's logs, health and feeds against their golden files (contract/polpo.md §3.7, §14-17)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.conversations.services import create_session, post_message
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.ids import base62
from apps.events.events import LogWritten
from apps.runs import kinds
from apps.runs.journal import RunJournal
from apps.runs.services import claim_run, open_run
from tests.contract.golden import Matcher, assert_golden, load
from tests.live.feeds import Feeds, frame, say
from tests.runs.test_journal import Probe, done, model_step
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

CALL = {
    "id": "call_1",
    "name": "http_fetch",
    "arguments": {"url": "https://example.org", "password": "hunter2"},
}


@pytest.fixture
def api(aurora, recording_queue):
    """`api(path)` as Ada; both layouts answer alike."""

    def ask(path, key=aurora.ada_token):
        headers = {"X-API-Key": key} if key else {}
        client = Client(raise_request_exception=False)
        return client.get(f"/api/v1/projects/aurora/{path}", headers=headers)

    return ask


@pytest.fixture
def run(aurora, recording_queue, monkeypatch):
    monkeypatch.setitem(kinds._handlers, "probe", Probe())
    run = open_run(aurora.ada, kind="probe")
    hold, _, _ = claim_run(aurora.id, run.pk)
    journal = RunJournal(Actor.for_engine(aurora.id), hold)

    async def write():
        await journal.record(model_step(calls=[CALL]), done())

    asyncio.run(write())
    return run


def all_is_well(aurora):
    session, _ = create_session(aurora.ada, title="A talk")
    say(aurora.ada, LogWritten(level="info", message="All is well."))
    return session


def test_health_needs_no_key(db):
    assert_golden(Client().get("/api/v1/health"), "polpo/health.json")


def test_logs_are_listed_newest_first(api, aurora, monkeypatch, request):
    all_is_well(aurora)
    request.getfixturevalue("run")
    assert_golden(api("logs"), "polpo/logs.json")


def test_a_days_log_holds_its_events(api, aurora):
    session = all_is_well(aurora)
    post_message(aurora.ada, session.pk, content="Hello")
    say(aurora.ada, LogWritten(level="info", message="All is well."))
    path = f"logs/{datetime.now(UTC):%Y-%m-%d}"
    entries = api(path).json()["data"]
    assert [entry["event"] for entry in entries] == [
        *("session:created", "log", "message:added", "log")
    ]
    assert_golden(api(f"{path}?limit=3"), "polpo/logs_day.json")


def test_a_runs_log_hides_secrets(api, run):
    assert_golden(api(f"logs/run-{base62(run.pk)}"), "polpo/logs_run.json")


def test_an_unknown_log_is_empty(api):
    assert_golden(api("logs/nobody"), "polpo/logs_unknown.json")


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", ""])
def test_a_limit_out_of_range_is_told(api, limit):
    assert_golden(api(f"logs/2026-05-21?limit={limit}"), "polpo/error_logs_limit.json")


def test_a_strangers_project_is_unknown(api, borealis):
    assert_golden(api("logs", borealis.mallory_token), "polpo/error_project.json")


# --- Feeds ---------------------------------------------------------------------------------------
@pytest.fixture
def ada(transactional_db, aurora, recording_queue):
    with serving() as port:
        yield Feeds(port, aurora.ada_token)


@pytest.mark.parametrize(
    ("path", "name", "golden"),
    [
        ("/api/v1/projects/aurora/events", "message", "polpo/events_message.json"),
        ("/api/v1/events", "session:created", "polpo/events_named.json"),
    ],
)
async def test_a_feed_tells_an_event(ada, aurora, path, name, golden):
    feed = await ada.open(path)
    await db_call(create_session, aurora.ada, title="A talk")
    event = await feed.next()
    assert event.event == name
    Matcher().match(load(golden)["body"], json.loads(event.data))
    await ada.close()


async def test_a_socket_tells_an_event_and_an_error(ada, aurora):
    async with ada.socket() as socket:
        await db_call(create_session, aurora.ada, title="A talk")
        Matcher().match(load("polpo/ws_event.json")["body"], await frame(socket))
        await socket.send("{")
        Matcher().match(load("polpo/ws_error.json")["body"], await frame(socket))
