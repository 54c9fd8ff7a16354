"""Five hundred subscribers of polpo's events: everyone hears everything, in order."""

from __future__ import annotations

import asyncio

import pytest

from apps.surfaces import polpo
from tests.bench.client import subscribe
from tests.live import feeds
from tests.live.feeds import note_soon
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

COUNT, NOTES = 500, 40


@pytest.fixture
def port(transactional_db, recording_queue, monkeypatch):
    monkeypatch.setattr(polpo, "PER_MINUTE", 10_000)
    with feeds.spoken_notes(), serving() as number:
        yield number


async def all_opened(port, key):
    paths = ("/api/v1/events", "/api/v1/projects/aurora/events?filter=note:*")
    return [await subscribe(port, paths[number % 2], key) for number in range(COUNT)]


async def all_heard(last, *watchers):
    for _ in range(1_500):
        if all(watcher.heard and watcher.heard[-1][0] == last for watcher in watchers):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("somebody did not hear the last event")


async def test_five_hundred_subscribers_hear_everything_in_order(port, aurora):
    watchers = await all_opened(port, aurora.ada_token)
    last = 0
    for number in range(NOTES):
        last = await note_soon(aurora.ada, str(number))
    await all_heard(last, *watchers)
    expected = list(range(last - NOTES + 1, last + 1))
    assert all([number for number, _ in watcher.heard] == expected for watcher in watchers)
    for watcher in watchers:
        watcher.close()


async def test_a_reader_that_takes_nothing_is_dropped_and_holds_nobody_up(
    port, aurora, monkeypatch
):
    from apps.events import stream

    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(stream, "QUEUE_FRAMES", 8)
    slow, quick = [await subscribe(port, "/api/v1/events", aurora.ada_token) for _ in range(2)]
    gone = asyncio.get_running_loop().create_future()
    slow.connection_lost = lambda exc: gone.set_result(None)
    slow._transport.pause_reading()
    for _ in range(60):
        last = await note_soon(aurora.ada, "x" * 200_000)
    await all_heard(last, quick)
    assert len(quick.heard) == 60
    await asyncio.sleep(1.5)
    slow._transport.resume_reading()
    async with asyncio.timeout(10):
        await gone
    assert len(slow.heard) < 60
    quick.close()
