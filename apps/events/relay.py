"""Token deltas between processes: a bounded, expiring Redis stream a session.

The process that runs a turn writes each flush as one entry (`send`); a process with sockets on that
session reads the entries after the last it has (`arrived`, on a nudge or by heartbeat) into a mirror
buffer, from which its sockets are served exactly as from their own. Without REDIS_URL there is one
process, and nothing here does anything. Redis gone: deltas wait in the bounded buffer and go out when
it is back; the facts are in PostgreSQL either way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.conf import settings

from apps.events import frames, nudge

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

ENTRIES = 2_000
ENTRY_DELTAS = 500
READ_ENTRIES = 200
RETRY_SECONDS = 0.5
SECONDS = 2.0
SETTLE_SECONDS = 2.0


class _State:
    """The relay of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from redis import asyncio as aioredis

        self.loop = loop
        self.redis = aioredis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            max_connections=8,
        )
        self.sent: dict[UUID, tuple[int, int]] = {}  # session -> (generation, last index sent)
        self.dirty: set[UUID] = set()
        self.ended: dict[UUID, set[UUID]] = {}
        self.sender: asyncio.Task[None] | None = None
        self.last_ids: dict[UUID, str] = {}
        self.readers: dict[UUID, asyncio.Task[None]] = {}
        self.again: set[UUID] = set()


_state: _State | None = None


def _now() -> _State | None:
    global _state  # noqa: PLW0603
    if not settings.REDIS_URL:
        return None
    loop = asyncio.get_running_loop()
    if _state is None or _state.loop is not loop:
        _state = _State(loop)
    return _state


def _key(session_id: UUID) -> str:
    return f"polymux:tokens:{session_id.hex}"


async def close() -> None:
    """Let go of Redis (the loop is about to end)."""
    global _state
    state, _state = _state, None
    if state is not None and state.loop is asyncio.get_running_loop():
        tasks = [task for task in (state.sender, *state.readers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await state.redis.aclose()


# --- Writing ---------------------------------------------------------------------------------------


def send(sessions: Iterable[UUID]) -> None:
    """Pass these sessions' new deltas on, in the background. Home loop only."""
    state = _now()
    if state is None:
        return
    for session_id in sessions:
        buffer = frames.buffer_of(session_id)
        if buffer is not None and not buffer.mirror:
            state.dirty.add(session_id)
    if state.dirty and (state.sender is None or state.sender.done()):
        state.sender = state.loop.create_task(_send_all(state))


async def drained() -> None:
    """Wait, at most 2 s, until deltas said before now are out: facts told later follow them."""
    if _state is not None and _state.sender is not None and not _state.sender.done():
        await asyncio.wait([_state.sender], timeout=SETTLE_SECONDS)


async def _send_all(state: _State) -> None:
    while state.dirty:
        batch = {session_id: state.dirty.pop() for session_id in list(state.dirty)[:200]}
        try:
            await _send_batch(state, list(batch.values()))
        except Exception as error:  # noqa: BLE001 - whatever it is, facts flow without it
            log.info("token deltas wait for Redis (%r)", error)
            state.dirty.update(batch.values())
            await asyncio.sleep(RETRY_SECONDS)
    live = {s for s in state.sent if frames.buffer_of(s) is not None}
    for session_id in state.sent.keys() - live:
        del state.sent[session_id]


async def _send_batch(state: _State, sessions: list[UUID]) -> None:
    pipe = state.redis.pipeline(transaction=False)
    marks: dict[UUID, tuple[int, int]] = {}
    for session_id in sessions:
        buffer = frames.buffer_of(session_id)
        if buffer is None or buffer.mirror:
            continue
        generation, sent = state.sent.get(session_id, (0, 0))
        entries, last = _entries(buffer, sent if generation == buffer.generation else 0)
        for entry in entries:
            pipe.xadd(_key(session_id), {"d": entry}, maxlen=ENTRIES, approximate=True)
        pipe.expire(_key(session_id), int(frames.KEEP_SECONDS))
        marks[session_id] = (buffer.generation, last)
    async with asyncio.timeout(2 * SECONDS):
        await pipe.execute()
    state.sent.update(marks)
    for session_id in marks:
        nudge.send_later(nudge.tokens_group(session_id), {"type": "tokens", "s": session_id.hex})


def _entries(buffer: frames.Buffer, sent: int) -> tuple[list[str], int]:
    deltas = list(buffer.after(sent))
    ended = [run.hex for run, span in buffer.runs.items() if span.finished_at is not None]
    entries = []
    for start in range(0, len(deltas) or 1, ENTRY_DELTAS):
        rows = [
            (d.index, d.run_id.hex, d.after, d.tag, d.text)
            for d in deltas[start : start + ENTRY_DELTAS]
        ]
        entries.append(json.dumps([buffer.generation, buffer.started_after, rows, ended[-20:]]))
    return entries, buffer.last


# --- Reading ---------------------------------------------------------------------------------------


async def follow(session_id: UUID) -> None:
    """Read what other processes have said so far; at most 2 seconds, failure is no news."""
    state = _now()
    if state is None:
        return
    try:
        async with asyncio.timeout(SECONDS):
            await _read(state, session_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, facts flow without it
        log.info("token deltas of other processes are not at hand (%r)", error)


def unfollow(session_id: UUID) -> None:
    """The last reader of the session in this process has gone."""
    if _state is not None:
        _state.last_ids.pop(session_id, None)
        buffer = frames.buffer_of(session_id)
        if buffer is not None and buffer.mirror:
            frames.drop(buffer)


def arrived(session_id: UUID) -> None:
    """There may be new entries: read them in the background, one reader a session."""
    state = _now()
    if state is None:
        return
    if session_id in state.readers:
        state.again.add(session_id)
        return
    task = state.readers[session_id] = state.loop.create_task(_read_quietly(state, session_id))
    task.add_done_callback(lambda _: state.readers.pop(session_id, None))


async def settled(sessions: Iterable[UUID]) -> None:
    """Read these sessions' entries, at most 2 s, before their facts are told: the deltas come first.

    Waiting for a reading under way is not enough: a fact's nudge may overtake that of its deltas.
    """
    state = _now()
    if state is None:
        return
    wanted = list(sessions)
    for session_id in wanted:
        arrived(session_id)
    tasks = [task for s in wanted if (task := state.readers.get(s)) is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=SETTLE_SECONDS)


async def _read_quietly(state: _State, session_id: UUID) -> None:
    try:
        while True:
            state.again.discard(session_id)
            await _read(state, session_id)
            if session_id not in state.again:
                return
    except Exception as error:  # noqa: BLE001 - whatever it is, facts flow without it
        log.info("reading token deltas failed (%r); the heartbeat tries again", error)


async def _read(state: _State, session_id: UUID) -> None:
    while True:
        after = state.last_ids.get(session_id)
        answer = await state.redis.xrange(
            _key(session_id), min=f"({after}" if after else "-", count=READ_ENTRIES
        )
        found = cast("list[tuple[bytes, dict[bytes, bytes]]]", answer)  # we decode nothing
        if state.last_ids.get(session_id) != after:
            continue  # another reader was faster
        for entry_id, fields in found:
            state.last_ids[session_id] = entry_id.decode()
            _take(session_id, json.loads(fields[b"d"]))
        if len(found) < READ_ENTRIES:
            return


def _take(session_id: UUID, entry: list[Any]) -> None:
    generation, started_after, rows, ended = entry
    buffer = frames.buffer_of(session_id)
    if (
        buffer is not None
        and not buffer.mirror
        and not (buffer.ended and generation > buffer.generation)
    ):
        return  # our own words, or words from before we took the session over
    if buffer is None or buffer.generation < generation:
        buffer = frames.open_mirror(session_id, generation)
    if buffer.generation != generation:
        return
    for index, run, after, tag, text in rows:
        if index > buffer.last:
            frames.adopt_run(UUID(run), buffer)
            frames.put(buffer, frames.Delta(index, UUID(run), after, tag, text))
    buffer.started_after = started_after
    for run in ended:
        frames.finish(UUID(run))
