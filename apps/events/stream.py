"""One reader of a workspace's log: catching up and being live are the same code.

A `Subscription` has a position (`seen`: every row up to it has been handed out). While it is *live* the
hub offers it each new row; otherwise it reads rows after its position itself, at the pace of its
reader, until it has reached the hub's cursor and joins. A reader whose queue is full is put back to
reading for itself (nothing is lost, nothing is kept twice); one that takes nothing for 5 seconds after
that is dropped with 4008. Token deltas are not queued at all: a reader takes what its position in the
session's buffer lacks, merged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from apps.core.aio import db_call
from apps.events import frames, log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from apps.events.log import EventRow
    from apps.events.topic import Topic

logger = logging.getLogger(__name__)

QUEUE_FRAMES = 256
QUEUE_BYTES = 1024 * 1024
SLOW_SECONDS = 5.0
CATCH_UP_ROWS = 200
MOST_SEALED = 32

Wire = str | bytes


class Encoder(Protocol):
    """A dialect: makes the wire form of rows and tokens, once for all its readers.

    Two encoders of the same `name` must produce the same bytes. `event` and `tokens` return pieces
    (empty: this dialect does not tell that); `seal` makes a piece ready to send, with its number or,
    for all but the last piece of a fact, without.
    """

    name: str

    def event(self, row: EventRow) -> Sequence[Any]: ...

    def tokens(self, chunk: frames.Chunk) -> Sequence[Any]: ...

    def seal(self, piece: Any, seq: int | None) -> Wire: ...

    def ending(self, row: EventRow) -> int:
        """The close code when this row is a stream's last, else 0."""
        ...


class StreamClosed(Exception):
    """The stream has ended: `code` as in contract/polymux.md §11.7 (4008 slow, 4401 revoked, 1001)."""

    def __init__(self, code: int, cursor: int) -> None:
        self.code = code
        self.cursor = cursor
        super().__init__(f"{code} at {cursor}")


class Subscription:
    """Made by `Hub.subscribe`; its owner calls `next()` in a loop and `close()` in a finally."""

    __slots__ = (
        "_direct",
        "_drop_timer",
        "_queue",
        "_queued_bytes",
        "_waiter",
        "buffer",
        "closed_with",
        "encoder",
        "ends_with",
        "event_seq",
        "gap",
        "last_seq",
        "live",
        "names",
        "on_close",
        "seen",
        "session_id",
        "still_allowed",
        "token",
        "token_id",
        "topic",
        "user_id",
        "workspace_id",
    )

    def __init__(
        self,
        topic: Topic,
        session_id: UUID | None,
        encoder: Encoder,
        *,
        seen: int,
        token: int | None,
    ) -> None:
        """`token` None: a newcomer, who gets what is still being said from its beginning."""
        self.workspace_id = topic.workspace_id
        self.session_id = session_id
        self.encoder = encoder
        self.topic = topic
        self.seen = seen
        self.event_seq = seen
        self.token = token or 0
        self.last_seq = frames.wire_seq(seen, self.token) if session_id else seen
        self.buffer = frames.buffer_of(session_id) if session_id else None
        self.gap = False
        self.live = False
        self.closed_with = 0
        self.ends_with = 0
        self.on_close: Callable[[int], None] | None = None
        self.still_allowed: Callable[[], bool] | None = None
        self.token_id: UUID | None = None
        self.user_id: UUID | None = None
        self.names: frozenset[str] | None = None
        self._queue: deque[EventRow] | None = None
        self._queued_bytes = 0
        self._direct: list[Wire] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drop_timer: asyncio.TimerHandle | None = None
        if self.buffer is not None:
            self.token = (
                self.buffer.start_for_new_reader()
                if token is None
                else self.buffer.start_for_returning(seen, token)
            )

    @property
    def cursor(self) -> int:
        """What to give as `since` to go on from here."""
        return self.last_seq

    async def next(self) -> list[Wire]:
        """The next frames, in order, at least one; waits for them. Raises `StreamClosed`."""
        self._cancel_drop()
        while True:
            if self.closed_with:
                raise StreamClosed(self.closed_with, self.cursor)
            ready, self._direct = self._direct or [], None
            if self.live:
                self._take_queue(ready)
            else:
                await self._catch_up(ready)
            if self.live:
                self._take_tokens(ready, self.seen)
            if ready:
                return ready
            if self.ends_with and self.live:
                self.close(self.ends_with)
            elif self.live:
                await self._wait()

    def send(self, wire: Wire) -> None:
        """Put a frame that is no fact (a reply, an error) before whatever comes next."""
        if self._direct is None:
            self._direct = []
        if len(self._direct) >= QUEUE_FRAMES:
            self.close(4008)
            return
        self._direct.append(wire)
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def rewind(self, seen: int) -> None:
        """Go on after `seen`, whatever was told already. A workspace's reader only."""
        self.seen = self.event_seq = self.last_seq = seen
        self._queue, self._queued_bytes, self.live = None, 0, False
        self.wake()

    def end(self, code: int = 1000) -> None:
        """Close once everything before this moment has been handed out."""
        self.ends_with = code
        self.wake()

    def close(self, code: int = 1000) -> None:
        """End the stream; the owner's `next()` raises `StreamClosed`. Twice is the same as once."""
        if self.closed_with:
            return
        self.closed_with = code
        self._cancel_drop()
        self.topic.leave(self)
        self._queue = None
        self.wake()
        if self.on_close is not None:
            self.on_close(code)

    # --- Called by the hub ---------------------------------------------------------------------

    def offer(self, row: EventRow) -> None:
        """A new row for a live reader; when there is no room, the reader falls back to the log."""
        if not self.live or row.seq <= self.seen:
            return
        size = encoded_size(row, self.encoder)
        if not size:
            if self.session_id is not None:
                self.wake()  # deltas may have waited for this row to pass
            return
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        if len(queue) >= QUEUE_FRAMES or (self._queued_bytes + size > QUEUE_BYTES and queue):
            self._fall_behind()
            return
        queue.append(row)
        self._queued_bytes += size
        self.wake()

    # --- The reader's own side -----------------------------------------------------------------

    def _fall_behind(self) -> None:
        assert self._queue
        self.seen = self._queue[0].seq - 1
        self._queue, self._queued_bytes, self.live = None, 0, False
        loop = asyncio.get_running_loop()
        self._drop_timer = loop.call_later(SLOW_SECONDS, self.close, 4008)

    def _cancel_drop(self) -> None:
        if self._drop_timer is not None:
            self._drop_timer.cancel()
            self._drop_timer = None

    def _take_queue(self, ready: list[Wire]) -> None:
        rows, self._queue, self._queued_bytes = self._queue, None, 0
        for row in rows or ():
            self._hand_out(row, ready)
        self.seen = max(self.seen, self.topic.cursor)

    async def _catch_up(self, ready: list[Wire]) -> None:
        """One step towards the hub's cursor; joins when it is reached."""
        topic = self.topic
        if self.seen < topic.cursor:
            recent = topic.recent_after(self.seen)
            if recent is None:
                await self._read_log(ready, topic.cursor)
                return
            for row in recent:
                self._hand_out(row, ready)
        # No await between here and the comparison above: the hub cannot move in between.
        # A reader may come back from ahead of us: the topic hears of new rows a little later.
        self.seen = max(self.seen, topic.cursor)
        self.live = True

    async def _read_log(self, ready: list[Wire], upto: int) -> None:
        begun = self.seen
        rows = await db_call(
            log.log_after,
            self.workspace_id,
            begun,
            upto=upto,
            session_id=self.session_id,
            names=self.names,
            limit=CATCH_UP_ROWS,
        )
        if self.seen != begun:  # rewound meanwhile: these rows come again, in their place
            return
        for row in rows:
            self._hand_out(row, ready)
        self.seen = rows[-1].seq if len(rows) == CATCH_UP_ROWS else upto

    def _hand_out(self, row: EventRow, ready: list[Wire]) -> None:
        if self.session_id is not None:
            if row.session_id != self.session_id:
                return
            self._take_tokens(ready, row.seq - 1)
        pieces = pieces_of(row, self.encoder)
        if not pieces:
            return
        self.event_seq = row.seq
        seq = self._number()
        ready.extend(self.encoder.seal(piece, None) for piece in pieces[:-1])
        ready.append(_sealed(row, self.encoder, pieces[-1], seq))
        if code := self.encoder.ending(row):
            self.end(code)

    def _take_tokens(self, ready: list[Wire], bound: int) -> None:
        if self.session_id is None:
            return
        buffer = frames.buffer_of(self.session_id)
        if buffer is not self.buffer and buffer is not None:
            self.token = 0
        self.buffer = buffer
        if buffer is None or buffer.last <= self.token:
            return
        # Every fact up to `bound` has been handed out, told or not: a client that comes back with
        # this frame's number must not be taken for one that left before the stream began.
        self.event_seq = max(self.event_seq, bound)
        key = (self.encoder.name, self.token, self.last_seq, self.event_seq, bound)
        made = buffer.wire.get(key)
        if made is None:
            made = self._encode_tokens(buffer, bound)
            if len(buffer.wire) < MOST_SEALED:
                buffer.wire[key] = made
        wires, self.token, self.last_seq = made
        ready.extend(wires)

    def _encode_tokens(self, buffer: frames.Buffer, bound: int) -> tuple[list[Wire], int, int]:
        """(frames, token, last_seq) after what the buffer has beyond this reader's position."""
        wires: list[Wire] = []
        token, last_seq = self.token, self.last_seq
        for chunk in buffer.chunks(token, self.event_seq, bound):
            pieces = self.encoder.tokens(chunk)
            token = chunk.last
            wires += [self.encoder.seal(piece, None) for piece in pieces[:-1]]
            if pieces:
                last_seq = max(frames.wire_seq(self.event_seq, token), last_seq + 1)
                wires.append(self.encoder.seal(pieces[-1], last_seq))
        return wires, token, last_seq

    def _number(self) -> int:
        here = frames.wire_seq(self.event_seq, self.token) if self.session_id else self.event_seq
        self.last_seq = max(here, self.last_seq + 1)
        return self.last_seq

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


def pieces_of(row: EventRow, encoder: Encoder) -> Sequence[Any]:
    """The row in this dialect, made once. A row that cannot be told is logged and left out."""
    key = (encoder.name,)
    pieces: Sequence[Any] | None = row.wire.get(key)
    if pieces is None:
        try:
            pieces = encoder.event(row)
        except Exception:
            logger.exception("event %s %d cannot be told in %s", row.name, row.seq, encoder.name)
            pieces = ()
        if len(row.wire) < MOST_SEALED:  # readers may name as many dialects as they like
            row.wire[key] = pieces
    return pieces


def encoded_size(row: EventRow, encoder: Encoder) -> int:
    """Bytes of the row in this dialect; 0 when it is not told."""
    return sum(len(p) if isinstance(p, (str, bytes)) else 256 for p in pieces_of(row, encoder))


def _sealed(row: EventRow, encoder: Encoder, piece: Any, seq: int) -> Wire:
    key = (encoder.name, seq)
    wire: Wire | None = row.wire.get(key)
    if wire is None:
        wire = encoder.seal(piece, seq)
        if len(row.wire) < MOST_SEALED:
            row.wire[key] = wire
    return wire
