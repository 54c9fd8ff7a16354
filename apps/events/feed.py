"""A workspace's feed in a surface's words (`words.py`), in three forms, filtered for each reader.

- `MESSAGE`: server-sent, un-named: `id:` and `data: {"event", "data"}` (contract/polpo.md §16, SEED);
- `NAMED`: server-sent: `event: <name>`, `data: <payload>`, `id:` in that order (§16, CODE and SDK);
- `FRAME`: a WebSocket's `{"type":"event","event","data","timestamp","id"}` (§17).

Ids are the numbers of facts, as text. When one fact is several events, all but the last are numbered
`<fact before>.<place>`: who comes back with such an id gets that fact's events again and misses none.

A gap, when what a reader missed is no longer kept, is told before the replay: in MESSAGE as the comment
`: gap {"since":…,"resumedAt":…}`, which parsers pass over; in NAMED as `event: gap` without an id, which
only its listeners hear; in FRAME as `{"type":"gap","event":"gap","data":…}`. The replay goes on after
`resumedAt`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.events.patterns import EVERYTHING, Patterns
from apps.events.sse import USUAL, Manner, block
from apps.events.words import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from apps.events.frames import Chunk
    from apps.events.log import EventRow
    from apps.events.stream import Wire

REPLAYED = 1_000  # events a reader may come back for (contract/polpo.md §16)
_ID = re.compile(r"(\d{1,18})(?:\.\d{1,3})?", re.ASCII)


def position_of(text: str | None) -> int | None:
    """The fact after which a reader with this id goes on; None for none, or for what is no id."""
    found = _ID.fullmatch(text or "")
    return int(found[1]) if found else None


def last_event_id(headers: Mapping[str, str], query: Mapping[str, str]) -> int | None:
    """The header, which a reconnecting EventSource sets, else the query it was opened with."""
    return position_of(headers.get("last-event-id") or query.get("lastEventId"))


@dataclass(frozen=True, slots=True)
class Form:
    """`begin(event, data, timestamp)` makes an event without its id, which `seal` adds."""

    name: str
    begin: Callable[[str, Any, str], Any]
    seal: Callable[[Any, str], Wire]
    manner: Manner = USUAL


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def gap_of(since: int | None, resumed_at: int) -> dict[str, str]:
    return {"since": str(since), "resumedAt": str(resumed_at)}


def _message(event: str, data: Any, _timestamp: str) -> bytes:
    return block({"event": event, "data": data})


def _named(event: str, data: Any, _timestamp: str) -> bytes:
    return f"event: {event}\ndata: {dumped(data)}\n".encode()


def _frame(event: str, data: Any, timestamp: str) -> str:
    whole = dumped({"type": "event", "event": event, "data": data, "timestamp": timestamp})
    return whole[:-1]


MESSAGE = Form(
    "message",
    _message,
    lambda piece, number: b"id: %s\n%s" % (number.encode(), piece),
    Manner(
        opening=b"",
        beat=b": heartbeat\n\n",  # an empty `data` would break the JSON.parse of a plain onmessage
        gap=lambda since, at: f": gap {dumped(gap_of(since, at))}\n\n".encode(),
    ),
)
NAMED = Form(
    "named",
    _named,
    lambda piece, number: b"%sid: %s\n\n" % (piece, number.encode()),
    Manner(
        opening=b"",
        beat=b"event: heartbeat\ndata: \n\n",
        seconds=30.0,
        gap=lambda since, at: block(gap_of(since, at), event="gap"),
    ),
)
FRAME = Form("frame", _frame, lambda piece, number: f'{piece},"id":"{number}"}}')


class FeedEncoder:
    """One reader's dialect for `Hub.subscribe`: readers of one form share the bytes of an event."""

    __slots__ = ("form", "name", "patterns", "surface")

    def __init__(self, surface: str, form: Form, patterns: Patterns = EVERYTHING) -> None:
        self.surface, self.form = surface, form
        self.want(patterns)

    def want(self, patterns: Patterns) -> None:
        """Tell only these from now on; what waits in the queue is measured by them, too."""
        self.patterns = patterns
        self.name = f"{self.surface}.{self.form.name}{patterns.key}"

    def event(self, row: EventRow) -> Sequence[Any]:
        kept = [piece for event, piece in self._made(row) if self.patterns.match(event)]
        before = [
            self.form.seal(piece, f"{row.seq - 1}.{place}")
            for place, piece in enumerate(kept[:-1], 1)
        ]
        return [*before, *kept[-1:]]

    def _made(self, row: EventRow) -> list[tuple[str, Any]]:
        key = (self.surface, self.form.name)
        made: list[tuple[str, Any]] | None = row.wire.get(key)
        if made is None:
            moment = rfc3339(row.created_at) or ""
            made = row.wire[key] = [
                (event, self.form.begin(event, data, moment))
                for event, data in told(self.surface, row)
            ]
        return made

    def tokens(self, chunk: Chunk) -> Sequence[Any]:
        return ()

    def seal(self, piece: Any, seq: int | None) -> Wire:
        return piece if seq is None else self.form.seal(piece, str(seq))

    def ending(self, row: EventRow) -> int:
        return 0
