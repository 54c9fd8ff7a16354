"""Token deltas: ephemeral, bounded, resumable. They are no facts and are never stored.

**The wire number of a frame.** Frames of a session's stream carry `seq = event_seq << 20 | token`:

- `event_seq` is the number of the last fact of the session that the socket has been given (for the
  frame of a fact: its own number);
- `token` is how many deltas of the session's current token stream the socket has been given (for a
  token frame, which may merge several deltas: including its own). Deltas are counted from 1 and the
  count goes on across the runs of the session as long as the buffer lives (5 minutes after its last
  run finished).

So `seq` grows with every numbered frame, and a client that reconnects with `?since=<seq>` gets the
facts after `event_seq` and the deltas after `token`: no gap, no double. When one fact becomes several
frames only the last carries `seq`: they are one step. A `token` greater than what the buffer has
counted, or an `event_seq` before the buffer's first delta, belongs to an earlier buffer: then all the
deltas are new to the client.

**Order.** Every delta is stamped with the last fact of its session that this process had committed when
it was produced; a socket gets it after that fact and before the next one.

`append` runs on the home loop for each token and costs a few microseconds: readers are told once every
20 ms. With REDIS_URL the same flush mirrors the deltas to the other processes (`relay.py`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from apps.core import aio
from apps.events.nudge import before_heads, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

TOKEN_BITS = 20
MOST_TOKENS = (1 << TOKEN_BITS) - 1
FLUSH_SECONDS = 0.02
KEEP_SECONDS = 300.0
SWEEP_SECONDS = 30.0
BUFFER_BYTES = 1024 * 1024
BUFFER_DELTAS = 20_000
MOST_BUFFERS = 4_000
MOST_RUNS = 200
ALL_BYTES = 128 * 1024 * 1024


def wire_seq(event_seq: int, token: int) -> int:
    return event_seq << TOKEN_BITS | token


def split_seq(seq: int) -> tuple[int, int]:
    """(event_seq, token) of a wire number."""
    return seq >> TOKEN_BITS, seq & MOST_TOKENS


class Delta(NamedTuple):
    """One delta as it was produced. `after`: the number of the fact it follows."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks
    run_id: UUID
    after: int
    tag: str
    text: str


class Chunk(NamedTuple):
    """Neighbouring deltas of one run and tag, merged: indices first..last."""

    run_id: UUID
    tag: str
    text: str
    first: int
    last: int


@dataclass(slots=True)
class RunSpan:
    """Where a run's deltas lie in its buffer."""

    first: int
    dropped: int = 0
    finished_at: float | None = None


@dataclass(slots=True)
class Buffer:
    """The token stream of one session: deltas base+1 … last, oldest dropped first."""

    session_id: UUID
    generation: int = field(default_factory=time.time_ns)
    deltas: list[Delta] = field(default_factory=list)
    base: int = 0
    last: int = 0
    size: int = 0
    started_after: int = 0
    runs: dict[UUID, RunSpan] = field(default_factory=dict)
    touched: float = 0.0
    mirror: bool = False
    # (encoder, token, event_seq, bound) -> what those sockets send: made once, shared by all.
    wire: dict[Any, Any] = field(default_factory=dict)

    def add(self, delta: Delta) -> None:
        if not self.deltas and not self.last:
            self.base, self.last, self.started_after = delta.index - 1, delta.index - 1, delta.after
        if delta.run_id not in self.runs:
            self.runs[delta.run_id] = RunSpan(delta.index)
        self.deltas.append(delta)
        self.last = delta.index
        self.size += len(delta.text)
        self.wire.clear()
        if self.size > BUFFER_BYTES or len(self.deltas) > BUFFER_DELTAS:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """A tenth at a time, so that a long answer does not move the whole list for each token."""
        while self.size > BUFFER_BYTES or len(self.deltas) > BUFFER_DELTAS:
            gone = max(1, len(self.deltas) // 10)
            for delta in self.deltas[:gone]:
                self.size -= len(delta.text)
                if delta.run_id in self.runs:
                    self.runs[delta.run_id].dropped += 1
            del self.deltas[:gone]
            self.base += gone

    def after(self, index: int) -> Iterable[Delta]:
        return islice(self.deltas, max(0, index - self.base), None)

    def chunks(self, index: int, event_seq: int, bound: int) -> list[Chunk]:
        """Deltas after `index` that follow facts up to `bound`, neighbours merged.

        For a reader that has been given the facts up to `event_seq`.
        """
        found: list[Chunk] = []
        texts: list[str] = []
        for delta in self.after(index):
            if delta.after > bound:
                break
            if delta.after < event_seq and self._has_ended(delta.run_id):
                continue  # late, and the fact that ended its run has told it whole
            if found and found[-1].run_id == delta.run_id and found[-1].tag == delta.tag:
                texts.append(delta.text)
                found[-1] = found[-1]._replace(last=delta.index)
                continue
            _close(found, texts)
            found.append(Chunk(delta.run_id, delta.tag, "", delta.index, delta.index))
            texts = [delta.text]
        _close(found, texts)
        return found

    @property
    def ended(self) -> bool:
        """Every run in it has finished."""
        return all(span.finished_at is not None for span in self.runs.values())

    def _has_ended(self, run_id: UUID) -> bool:
        span = self.runs.get(run_id)
        return span is None or span.finished_at is not None

    def start_for_new_reader(self) -> int:
        """Before the first delta of the runs still going; a newcomer has the rest from the transcript."""
        going = [span.first for span in self.runs.values() if span.finished_at is None]
        return min(going) - 1 if going else self.last

    def start_for_returning(self, event_seq: int, token: int) -> int:
        """Where a client that has (event_seq, token) goes on; see the module's rule."""
        return 0 if event_seq < self.started_after or token > self.last else token


def _close(found: list[Chunk], texts: list[str]) -> None:
    if found:
        found[-1] = found[-1]._replace(text="".join(texts))


_buffers: OrderedDict[UUID, Buffer] = OrderedDict()
_by_run: dict[UUID, Buffer] = {}
_dirty: set[UUID] = set()
_flush_scheduled: Any = None
_total = 0
_swept_at = 0.0
on_flush: list[Callable[[set[UUID]], None]] = []


def append(session_id: UUID, run_id: UUID, delta: str, *, tag: str = "") -> int:
    """Add a token delta; returns its index. Home loop only. `tag` (agent id) keeps voices apart."""
    if not delta:
        return 0
    buffer = _buffers.get(session_id)
    if buffer is None or buffer.mirror or buffer.last >= MOST_TOKENS:
        buffer = _open(session_id)
    if run_id not in buffer.runs:
        _begin(buffer, run_id)
    index = buffer.last + 1
    put(buffer, Delta(index, run_id, stamp_of(session_id), tag, delta))
    return index


def finish(run_id: UUID) -> None:
    """No more deltas of this run; the buffer stays 5 minutes for those who come back."""
    buffer = _by_run.get(run_id)
    if buffer is not None and run_id in buffer.runs:
        buffer.runs[run_id].finished_at = time.monotonic()
        mark(buffer.session_id)


def read(run_id: UUID, after_index: int = 0) -> tuple[list[Delta], int]:
    """(the run's deltas with index > after_index, how many of those were dropped). Unknown: ([], 0)."""
    buffer = _by_run.get(run_id)
    if buffer is None or run_id not in buffer.runs:
        return [], 0
    span = buffer.runs[run_id]
    lost = min(span.dropped, max(0, buffer.base - after_index))
    return [d for d in buffer.after(after_index) if d.run_id == run_id], lost


def buffer_of(session_id: UUID) -> Buffer | None:
    return _buffers.get(session_id)


def put(buffer: Buffer, delta: Delta) -> None:
    """Store a delta and have the readers told at the next flush."""
    global _total  # noqa: PLW0603
    before = buffer.size
    buffer.add(delta)
    buffer.touched = time.monotonic()
    _total += buffer.size - before
    if _total > ALL_BYTES:
        _evict()
    mark(buffer.session_id)


def mark(session_id: UUID) -> None:
    global _flush_scheduled  # noqa: PLW0603
    _dirty.add(session_id)
    loop = aio.home_loop()
    if _flush_scheduled is not loop:
        _flush_scheduled = loop
        loop.call_later(FLUSH_SECONDS, _flush)


def open_mirror(session_id: UUID, generation: int) -> Buffer:
    """A buffer that repeats another process's deltas (`relay.py`)."""
    buffer = _open(session_id)
    buffer.generation, buffer.mirror = generation, True
    return buffer


def adopt_run(run_id: UUID, buffer: Buffer) -> None:
    _by_run[run_id] = buffer


def sweep(now: float | None = None) -> None:
    """Drop buffers whose runs all finished, or that nobody wrote to, 5 minutes ago."""
    limit = (time.monotonic() if now is None else now) - KEEP_SECONDS
    for buffer in list(_buffers.values()):
        ends = [span.finished_at for span in buffer.runs.values()]
        done = max((end for end in ends if end is not None), default=0.0)
        if max(done, buffer.touched) < limit:
            drop(buffer)


def forget_all() -> None:
    """Empty every buffer (shutdown, tests)."""
    global _total, _flush_scheduled
    _buffers.clear()
    _by_run.clear()
    _dirty.clear()
    _total, _flush_scheduled = 0, None


def _open(session_id: UUID) -> Buffer:
    if (old := _buffers.get(session_id)) is not None:
        drop(old)
    while len(_buffers) >= MOST_BUFFERS:
        _evict()
    buffer = _buffers[session_id] = Buffer(session_id, touched=time.monotonic())
    return buffer


def _begin(buffer: Buffer, run_id: UUID) -> None:
    """A run's first delta. Long ended runs of the session are forgotten, so that the list is bounded."""
    if len(buffer.runs) >= MOST_RUNS:
        for old in [r for r, span in buffer.runs.items() if span.finished_at is not None]:
            del buffer.runs[old]
            _by_run.pop(old, None)
    _by_run[run_id] = buffer
    _buffers.move_to_end(buffer.session_id)


def _evict() -> None:
    """The one whose newest run began longest ago goes first, finished ones before the others."""
    oldest = next(iter(islice(_buffers.values(), 1)), None)
    for buffer in islice(_buffers.values(), 100):
        if buffer.ended:
            oldest = buffer
            break
    if oldest is not None:
        drop(oldest)


def drop(buffer: Buffer) -> None:
    """Forget a buffer and its runs."""
    global _total  # noqa: PLW0603
    _buffers.pop(buffer.session_id, None)
    _total -= buffer.size
    for run_id in buffer.runs:
        if _by_run.get(run_id) is buffer:
            del _by_run[run_id]


def _flush() -> None:
    from apps.events import relay  # late: it stands on this module

    global _flush_scheduled, _swept_at  # noqa: PLW0603
    _flush_scheduled = None
    if not _dirty:
        return
    ready = set(_dirty)
    _dirty.clear()
    relay.send(ready)
    if time.monotonic() > _swept_at + SWEEP_SECONDS:  # a worker has no hub whose heartbeat sweeps
        _swept_at = time.monotonic()
        sweep()
    for tell in on_flush:
        tell(ready)


before_heads.append(_flush)  # what was said before a fact is passed on before it
