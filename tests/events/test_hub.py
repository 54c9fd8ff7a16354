"""Being live and catching up are the same: every reader gets exactly the log, in order."""

from __future__ import annotations

import asyncio
import random

import pytest

from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.ids import uuid7
from apps.events import frames, log, nudge, selectors, services, stream, topic
from apps.events import hub as hubs
from apps.events.frames import split_seq, wire_seq
from apps.events.hub import Hub, StreamClosed
from apps.events.models import Event
from tests.events.conftest import Plain, read_until, still, tell_soon


async def test_a_reader_gets_what_is_published_after_it_came(actor: Actor, hub: Hub) -> None:
    await tell_soon(actor, "before")
    sub = await hub.subscribe(actor.workspace_id, Plain())
    await tell_soon(actor, "one", "two")
    assert [frame[2] for frame in await read_until(sub, "two")] == ["one", "two"]


async def test_a_reader_that_returns_gets_exactly_what_it_missed(actor: Actor, hub: Hub) -> None:
    await tell_soon(actor, *(f"{n}." for n in range(10)))
    sub = await hub.subscribe(actor.workspace_id, Plain(), since=4)
    assert [frame[1] for frame in await read_until(sub, "9.")] == [5, 6, 7, 8, 9, 10]
    assert not sub.gap


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_readers_that_come_at_any_moment_all_read_exactly_the_log(
    actor: Actor, hub: Hub, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six writers, readers from random cursors at random moments, small reads and queues."""
    chance = random.Random(seed)
    monkeypatch.setattr(stream, "CATCH_UP_ROWS", 7)
    monkeypatch.setattr(stream, "QUEUE_FRAMES", 5)
    monkeypatch.setattr(topic, "ROWS_A_READ", 9)
    hub.topics.clear()
    total = 240

    async def write(_: int) -> None:
        for _ in range(total // 6 // 2):
            await tell_soon(actor, "x", "y")
            await asyncio.sleep(chance.random() / 200)

    readers = (read_from_anywhere(actor, hub, chance, total) for _ in range(25))
    answers = await asyncio.gather(*readers, *(write(n) for n in range(6)))
    for since, got in answers[:25]:
        assert got == list(range(since + 1, total + 1))
    assert hub.topics == {}


async def read_from_anywhere(
    actor: Actor, hub: Hub, chance: random.Random, total: int
) -> tuple[int, list[int]]:
    """Come at a random moment with a random cursor and read, with rests, to the end."""
    await asyncio.sleep(chance.random() / 2)
    since = min(chance.randrange((await db_call(selectors.head, actor)) + 1), total - 1)
    sub = await hub.subscribe(actor.workspace_id, Plain(), since=since)
    got: list[int] = []
    async with asyncio.timeout(30):
        while not got or got[-1] < total:
            got += [frame[1] for frame in await sub.next()]
            if chance.random() < 0.2:
                await asyncio.sleep(0.02)
    sub.close()
    return since, got


async def test_a_reader_ahead_of_its_topic_is_told_nothing_twice(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.subscribe(actor.workspace_id, Plain())
    with monkeypatch.context() as unheard:
        unheard.setattr(topic.Topic, "poke", lambda *_: None)
        await tell_soon(actor, "one", "two")
        sub = await hub.subscribe(actor.workspace_id, Plain(), since=2)
        reading = asyncio.create_task(read_until(sub, "three"))
        await asyncio.sleep(0.1)
        assert sub.live
    await tell_soon(actor, "three")
    assert [frame[1] for frame in await reading] == [3]


async def test_two_hundred_readers_share_one_read_and_one_encoding(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = log.log_after
    monkeypatch.setattr(log, "log_after", lambda *a, **k: reads.append(a) or real(*a, **k))
    session = uuid7()
    subs = [
        await hub.subscribe(actor.workspace_id, Plain(), session_id=session) for _ in range(200)
    ]
    await tell_soon(actor, "one", "two", session_id=session)
    got = await asyncio.gather(*(read_until(sub, "two") for sub in subs))
    assert all([frame[2] for frame in frames_] == ["one", "two"] for frames_ in got)
    assert len({id(frames_[0]) for frames_ in got}) == 1, "every socket sends the same object"
    assert len(reads) == 1


async def test_a_session_reader_hears_only_its_session(actor: Actor, hub: Hub) -> None:
    mine, other = uuid7(), uuid7()
    sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=mine)
    await tell_soon(actor, "foreign", session_id=other)
    await tell_soon(actor, "nobody's")
    await tell_soon(actor, "mine", session_id=mine)
    assert [frame[2] for frame in await read_until(sub, "mine")] == ["mine"]


async def test_a_workspace_hears_nothing_of_another(actor: Actor, hub: Hub, borealis) -> None:
    sub = await hub.subscribe(borealis.id, Plain())
    await tell_soon(actor, "secret")
    await tell_soon(borealis.mallory, "theirs")
    assert "secret" not in str(await read_until(sub, "theirs"))


async def test_a_reader_too_slow_for_its_queue_reads_on_from_the_log(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUEUE_FRAMES", 3)
    sub = await hub.subscribe(actor.workspace_id, Plain())
    await tell_soon(actor, "first")
    await read_until(sub, "first")
    for n in range(12):
        await tell_soon(actor, f"{n}.")
    await asyncio.sleep(0.1)
    assert not sub.live
    assert [frame[1] for frame in await read_until(sub, "11.")] == list(range(2, 14))


async def test_a_reader_that_takes_nothing_is_dropped_with_its_cursor(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUEUE_FRAMES", 3)
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.2)
    sub = await hub.subscribe(actor.workspace_id, Plain())
    await tell_soon(actor, "taken")
    await read_until(sub, "taken")
    for n in range(6):
        await tell_soon(actor, str(n))
    await asyncio.sleep(0.5)
    with pytest.raises(StreamClosed) as closed:
        await sub.next()
    assert (closed.value.code, closed.value.cursor) == (4008, 1)
    again = await hub.subscribe(actor.workspace_id, Plain(), since=closed.value.cursor)
    assert len(await read_until(again, "'5'")) == 6


async def test_a_lost_nudge_is_made_up_for_by_the_heartbeat(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.3)
    await hub.stop()
    hub.start()
    sub = await hub.subscribe(actor.workspace_id, Plain())
    monkeypatch.setattr(nudge, "committed", lambda *a: None)
    await tell_soon(actor, "unannounced")
    assert await read_until(sub, "unannounced", patience=3)


async def test_a_cursor_older_than_what_is_kept_is_a_gap(actor: Actor, hub: Hub) -> None:
    await tell_soon(actor, *(str(n) for n in range(10)))
    await db_call(Event.objects.filter(seq__lte=6).delete)
    sub = await hub.subscribe(actor.workspace_id, Plain(), since=2)
    assert sub.gap
    assert [frame[1] for frame in await read_until(sub, "'9'")] == [7, 8, 9, 10]


async def test_a_cursor_from_the_future_is_a_gap(actor: Actor, hub: Hub) -> None:
    await tell_soon(actor, "one")
    sub = await hub.subscribe(actor.workspace_id, Plain(), since=99)
    assert sub.gap
    await tell_soon(actor, "two")
    assert [frame[1] for frame in await read_until(sub, "two")] == [2]


async def test_a_session_that_is_too_far_behind_begins_at_the_present(
    actor: Actor, hub: Hub
) -> None:
    session = uuid7()
    await tell_soon(actor, *(str(n) for n in range(10)), session_id=session)
    arguments = {"session_id": session, "since": wire_seq(2, 0)}
    assert (await hub.subscribe(actor.workspace_id, Plain(), replay_at_most=7, **arguments)).gap
    near = await hub.subscribe(actor.workspace_id, Plain(), replay_at_most=8, **arguments)
    assert not near.gap
    assert len(await read_until(near, "'9'")) == 8


async def test_a_revoked_token_ends_its_streams_at_once(actor: Actor, hub: Hub) -> None:
    token, user = uuid7(), uuid7()
    by_token = await hub.subscribe(actor.workspace_id, Plain(), token_id=token)
    by_user = await hub.subscribe(actor.workspace_id, Plain(), user_id=user)
    other = await hub.subscribe(actor.workspace_id, Plain(), token_id=uuid7(), user_id=uuid7())
    await db_call(services.revoke, token_id=token)
    await db_call(services.revoke, user_id=user, workspace_id=actor.workspace_id)
    for sub in (by_token, by_user):
        async with asyncio.timeout(2):
            with pytest.raises(StreamClosed) as closed:
                await sub.next()
        assert closed.value.code == 4401
    assert not other.closed_with


async def test_a_credential_that_no_longer_holds_ends_its_streams_by_heartbeat(
    actor: Actor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.2)
    await hub.stop()
    hub.start()
    asked = []
    token = uuid7()
    subs = [
        await hub.subscribe(
            actor.workspace_id,
            Plain(),
            token_id=token,
            still_allowed=lambda: bool(asked.append(1)) or len(asked) < 2,
        )
        for _ in range(3)
    ]
    for sub in subs:
        async with asyncio.timeout(3):
            with pytest.raises(StreamClosed) as closed:
                await sub.next()
        assert closed.value.code == 4401
    assert len(asked) == 2, "one question a credential, not one a stream"


async def test_the_last_fact_of_a_stream_closes_it_after_it_was_told(
    actor: Actor, hub: Hub
) -> None:
    session = uuid7()
    sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
    await tell_soon(actor, "the end", session_id=session)
    assert await read_until(sub, "the end")
    with pytest.raises(StreamClosed) as closed:
        await sub.next()
    assert closed.value.code == 4410


# --- Token deltas ------------------------------------------------------------------------------------


def text_of(got: list) -> str:
    return "".join(frame[1] for frame in got if frame[0] == "tokens")


async def test_tokens_come_after_the_fact_they_follow_and_before_the_next(
    actor: Actor, hub: Hub
) -> None:
    session, run = uuid7(), uuid7()
    sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
    await tell_soon(actor, "question", session_id=session)
    for word in ("a", "b", "c"):
        frames.append(session, run, word)
    await tell_soon(actor, "call", session_id=session)
    frames.append(session, run, "d")
    await tell_soon(actor, "silent", session_id=session)
    frames.append(session, run, "e")
    frames.finish(run)
    await tell_soon(actor, "answer", session_id=session)
    got = await read_until(sub, "answer")
    words = "".join(f"<{f[2]}>" if f[0] == "event" else f[1] for f in got)
    assert words == "<question>abc<call>de<answer>"
    numbers = [frame[-1] for frame in got]
    assert numbers == sorted(set(numbers)), "strictly increasing"


async def test_a_client_that_drops_inside_a_turn_gets_exactly_the_missing_tokens(
    actor: Actor, hub: Hub
) -> None:
    """From every place at which it can drop."""
    session, run = uuid7(), uuid7()
    full = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
    await tell_soon(actor, "question", session_id=session)
    got = await read_until(full, "question")
    for n in range(20):
        frames.append(session, run, f"{n},")
        if n == 10:
            await tell_soon(actor, "call", session_id=session)
        got += await still(full, 0.05)
    await tell_soon(actor, "answer", session_id=session)
    got += await read_until(full, "answer")
    assert text_of(got) == "".join(f"{n}," for n in range(20))
    for place, frame in enumerate(got[:-1]):
        sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session, since=frame[-1])
        rest = await read_until(sub, "answer")
        assert text_of(rest) == text_of(got[place + 1 :])
        assert [f for f in rest if f[0] == "event"] == [
            f for f in got[place + 1 :] if f[0] == "event"
        ]
        sub.close()


async def test_a_newcomer_gets_what_is_being_said_from_its_beginning(
    actor: Actor, hub: Hub
) -> None:
    session, old, new = uuid7(), uuid7(), uuid7()
    frames.append(session, old, "old")
    frames.finish(old)
    frames.append(session, new, "new")
    sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
    assert text_of(await read_until(sub, "new")) == "new"


async def test_a_slow_reader_gets_merged_deltas(actor: Actor, hub: Hub) -> None:
    session, run = uuid7(), uuid7()
    sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
    for n in range(1000):
        frames.append(session, run, f"{n} ")
        if n % 100 == 0:
            await asyncio.sleep(0.03)
    got = await read_until(sub, "999 ")
    assert len(got) == 1
    assert split_seq(got[0][-1]) == (0, 1000)


def test_a_buffer_is_bounded_and_counts_what_it_dropped() -> None:
    session, run = uuid7(), uuid7()
    buffer = frames.Buffer(session)
    for index in range(1, 30_001):
        buffer.add(frames.Delta(index, run, 0, "", "x" * 50))
    assert len(buffer.deltas) <= frames.BUFFER_DELTAS
    assert buffer.size <= frames.BUFFER_BYTES
    assert buffer.runs[run].dropped == buffer.base == 30_000 - len(buffer.deltas)
    assert buffer.deltas[0].index == buffer.base + 1


async def test_a_run_is_read_by_index_with_the_number_of_lost_deltas(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "BUFFER_DELTAS", 10)
    session, run = uuid7(), uuid7()
    for n in range(1, 16):
        assert frames.append(session, run, str(n)) == n
    deltas, lost = frames.read(run, 0)
    assert lost + len(deltas) == 15
    assert frames.read(run, 13) == ([d for d in deltas if d.index > 13], 0)
    assert frames.read(uuid7(), 0) == ([], 0)


async def test_a_finished_buffer_is_kept_five_minutes(hub: Hub) -> None:
    import time

    session, run = uuid7(), uuid7()
    frames.append(session, run, "kept")
    frames.finish(run)
    frames.sweep(time.monotonic() + frames.KEEP_SECONDS - 1)
    assert frames.read(run, 0)[0]
    frames.sweep(time.monotonic() + frames.KEEP_SECONDS + 1)
    assert frames.read(run, 0) == ([], 0)


async def test_the_number_of_buffers_is_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_BUFFERS", 5)
    for _ in range(9):
        frames.append(uuid7(), uuid7(), "x")
    assert len(frames._buffers) == 5
