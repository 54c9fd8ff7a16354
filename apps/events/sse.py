"""Server-sent events: bytes, resuming, heartbeat, the gap notice.

Wire (WHATWG HTML §9.2): `retry` first, then `id`/`event`/`data` blocks; `: keep-alive` every 15 s. A client
resumes with the `Last-Event-ID` header, or `lastEventId` in the query where it cannot set headers. When
the id is older than what is kept, a `gap` event `{"since": …, "resumed_at": …}` comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.events.stream import StreamClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from apps.events.frames import Chunk
    from apps.events.http import Exchange
    from apps.events.log import EventRow
    from apps.events.stream import Subscription

HEARTBEAT_SECONDS = 15.0
RETRY_MS = 3_000
LINGER_SECONDS = 1.0
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store",
    "X-Accel-Buffering": "no",
}

Told = tuple[str, Any]  # (event name or "", JSON-ready data)


def block(data: Any, *, event: str = "", id: int | None = None) -> bytes:  # noqa: A002  (the field's name)
    """One event. `data`: bytes or str as they are (each line its own `data:`), else JSON."""
    raw = data if isinstance(data, bytes) else _encoded(data)
    if b"\n" in raw or b"\r" in raw:
        raw = b"\ndata: ".join(raw.splitlines())
    head = b"" if id is None else b"id: %d\n" % id
    name = b"event: " + event.encode() + b"\n" if event else b""
    return head + name + b"data: " + raw + b"\n\n"


def _encoded(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def retry(milliseconds: int = RETRY_MS) -> bytes:
    """A line of the block that follows: alone it would be an empty event to some clients."""
    return b"retry: %d\n" % milliseconds


def last_event_id(headers: Mapping[str, str], query: Mapping[str, str]) -> int | None:
    """Where the client wants to go on; None when it does not say, or not a number."""
    said = headers.get("last-event-id") or query.get("lastEventId") or query.get("last_event_id")
    return int(said) if said and said.isascii() and said.isdecimal() and len(said) < 19 else None


def _told_gap(since: int | None, resumed_at: int) -> bytes:
    return block({"since": since, "resumed_at": resumed_at}, event="gap")


@dataclass(frozen=True, slots=True)
class Manner:
    """What a feed says besides its events. `seconds` between two `beat`s, None: HEARTBEAT_SECONDS.

    `gap(since, resumed_at)`: how it says that the replay is incomplete.
    """

    opening: bytes = retry()
    beat: bytes = KEEP_ALIVE
    seconds: float | None = None
    gap: Callable[[int | None, int], bytes] = _told_gap


USUAL = Manner()


class SseEncoder:
    """A dialect of SSE for `Hub.subscribe`: `translate(row)` gives [(event, data), …] or None.

    `name` must be unique to what `translate` produces: readers of one name share bytes.
    """

    def __init__(
        self,
        name: str,
        translate: Callable[[EventRow], Sequence[Told] | None],
        *,
        tokens: Callable[[Chunk], Sequence[Told]] | None = None,
        last: Callable[[EventRow], bool] | None = None,
    ) -> None:
        self.name = name
        self._translate = translate
        self._tokens = tokens
        self._last = last

    def event(self, row: EventRow) -> Sequence[bytes]:
        return [block(data, event=event) for event, data in self._translate(row) or ()]

    def tokens(self, chunk: Chunk) -> Sequence[bytes]:
        told = self._tokens(chunk) if self._tokens is not None else ()
        return [block(data, event=event) for event, data in told]

    def seal(self, piece: bytes, seq: int | None) -> bytes:
        return piece if seq is None else b"id: %d\n" % seq + piece

    def ending(self, row: EventRow) -> int:
        return 1000 if self._last is not None and self._last(row) else 0


def _keep_alive(sub: Subscription, manner: Manner) -> Callable[[], None]:
    """Send heartbeats from now on, until what is returned is called."""
    loop = asyncio.get_running_loop()
    seconds = manner.seconds or HEARTBEAT_SECONDS
    timer: asyncio.TimerHandle

    def beat() -> None:
        nonlocal timer
        sub.send(manner.beat)
        timer = loop.call_later(seconds, beat)

    def stop() -> None:
        timer.cancel()  # the latest one

    timer = loop.call_later(seconds, beat)
    return stop


async def serve(
    exchange: Exchange,
    sub: Subscription,
    *,
    since: int | None = None,
    headers: Mapping[str, str] | None = None,
    manner: Manner = USUAL,
) -> None:
    """Send `sub` as SSE until the client goes or the stream ends; closes `sub`."""
    await exchange.start(200, {**HEADERS, **(headers or {})})
    first = manner.opening + (manner.gap(since, sub.cursor) if sub.gap else b"")
    task = asyncio.current_task()
    assert task is not None

    def cut(_code: int) -> None:
        if exchange.sending:
            task.cancel()

    be_quiet = _keep_alive(sub, manner)
    sub.on_close = cut
    try:
        if first:
            await exchange.write(first)
        while True:
            await exchange.write(b"".join(await sub.next()))  # type: ignore[arg-type]
    except StreamClosed:
        await exchange.finish()
    except asyncio.CancelledError:
        if not sub.closed_with or exchange.gone:
            raise
        task.uncancel()  # dropped while blocked: the peer reads nothing, do not wait for it for long
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await exchange.finish()
    finally:
        be_quiet()
        sub.on_close = None
        sub.close()
