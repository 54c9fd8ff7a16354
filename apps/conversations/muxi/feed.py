"""What end users' applications hear while turns go on (contract/muxi.md §5.6).

A feed's rows are put into words one batch at a time, off the fan-out: whose conversation a fact is of,
and what its request is called, is in no fact. What was once read is remembered; neither ever changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from apps.conversations import selectors
from apps.conversations.muxi.answers import About, event_json, frame
from apps.conversations.selectors import ToldSession, ToldTurn
from apps.core.aio import db_call
from apps.events.frames import Chunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.events.selectors import EventRow
    from apps.events.stream import Subscription, Wire

MOST_KNOWN = 20_000
Value = TypeVar("Value")

ENDINGS = {"succeeded": "chat.completed", "failed": "chat.failed", "cancelled": "chat.cancelled"}
# Facts that are told as news of a user's turns. `run.started` is two.
NEWS = frozenset(
    {"run.queued", "run.started", "run.waiting", "run.ended", "tool.called", "tool.returned"}
)


# --- Who is who -----------------------------------------------------------------------------------
class Known(Generic[Value]):
    """What has been read of rows that do not change; the ones asked for last are kept."""

    def __init__(self, read: Callable[[Actor, Collection[UUID]], Mapping[UUID, Value]]) -> None:
        self._read = read
        self._found: OrderedDict[UUID, Value] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, actor: Actor, keys: Iterable[UUID]) -> dict[UUID, Value]:
        """At most one query: for those that were never read."""
        wanted = set(keys)
        with self._lock:
            found = {key: self._found[key] for key in wanted if key in self._found}
        read = self._read(actor, wanted - found.keys())
        with self._lock:
            self._found.update(read)
            while len(self._found) > MOST_KNOWN:
                self._found.popitem(last=False)
        return found | dict(read)


_sessions: Known[ToldSession] = Known(selectors.told_sessions)
_turns: Known[ToldTurn] = Known(selectors.told_turns)
NO_TURN = ToldTurn("", "")


@dataclass(slots=True)
class Spoken:
    """A fact with the names of what it is about."""

    row: EventRow
    session: ToldSession | None
    turn: ToldTurn


def with_names(actor: Actor, rows: Sequence[EventRow]) -> list[Spoken]:
    """Two queries at most."""
    sessions = _sessions.of(actor, {row.session_id for row in rows if row.session_id})
    turns = _turns.of(actor, {row.run_id for row in rows if row.run_id})
    return [
        Spoken(
            row,
            sessions.get(row.session_id) if row.session_id else None,
            turns.get(row.run_id, NO_TURN) if row.run_id else NO_TURN,
        )
        for row in rows
    ]


# --- Reading the log as rows ----------------------------------------------------------------------
class AsRows:
    """A dialect for `Hub.subscribe` that hands out the rows themselves, and `tokens` where wanted."""

    def __init__(self, names: frozenset[str] | None, *, tokens: bool = False) -> None:
        self.name = f"muxi.rows{sorted(names) if names else ''}{tokens}"
        self._names, self._tokens = names, tokens

    def event(self, row: EventRow) -> Sequence[Any]:
        return (row,) if self._names is None or row.name in self._names else ()

    def tokens(self, chunk: Chunk) -> Sequence[Any]:
        return (chunk,) if self._tokens else ()

    def seal(self, piece: Any, seq: int | None) -> Wire:
        return cast("Wire", piece)

    def ending(self, row: EventRow) -> int:
        return 0


class InWords:
    """A subscription whose rows are put into words as they are taken; serve it as the subscription."""

    def __init__(
        self, sub: Subscription, tell: Callable[[list[Any]], Awaitable[list[bytes]]]
    ) -> None:
        self._sub, self._tell = sub, tell

    async def next(self) -> list[bytes]:
        while True:
            pieces: list[Any] = await self._sub.next()
            told: list[bytes] = []
            rows: list[Any] = []
            for piece in pieces:
                if isinstance(piece, (bytes, str)):  # a comment, or what opens the stream
                    told.append(piece if isinstance(piece, bytes) else piece.encode())
                else:
                    rows.append(piece)
            if rows:
                told += await self._tell(rows)
            if told:
                return told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sub, name)

    @property
    def on_close(self) -> Any:
        return self._sub.on_close

    @on_close.setter
    def on_close(self, hear: Any) -> None:
        self._sub.on_close = hear


# --- `GET /v1/events` and `/v1/events/{session}` --------------------------------------------------
@dataclass(frozen=True, slots=True)
class NewsOf:
    """The news of one user's turns (None: everybody's)."""

    actor: Actor
    end_user: str | None

    async def __call__(self, rows: list[EventRow]) -> list[bytes]:
        spoken = await db_call(with_names, self.actor, rows)
        return [
            frame(_news(said, kind, message))
            for said in spoken
            if said.session and self.end_user in (None, said.session.end_user)
            for kind, message in _words(said)
        ]


def _news(said: Spoken, kind: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "timestamp": said.row.created_at.timestamp(),
        "message": message,
        "session_id": said.session.key if said.session else None,
        "request_id": said.turn.request_id or None,
    }


def _words(said: Spoken) -> list[tuple[str, str]]:
    """(type, sentence) of a fact; none for what is no chat turn's."""
    row, told = said.row, said.row.payload
    if row.name == "run.started":
        agent = said.turn.agent
        chosen = [("agent.selected", f"{agent} answers.")] if agent else []
        return [("chat.started", "The turn has begun."), *chosen]
    if row.name == "run.ended":
        kind = ENDINGS[told["status"]]
        return [(kind, told.get("error_message") or f"The turn has {told['status']}.")]
    plain = {
        "run.queued": ("chat.queued", "The turn waits for its place."),
        "run.waiting": ("chat.awaiting_clarification", "The turn waits for a decision."),
        "tool.called": ("agent.tool_called", f"Calls {told.get('tool')}."),
        "tool.returned": ("agent.tool_returned", f"{told.get('tool')} has answered."),
    }
    return [plain[row.name]] if row.name in plain else []


# --- `GET /v1/events/{session}/{request}` ---------------------------------------------------------
TURN_NAMES = frozenset({"message.posted", "run.started", "run.waiting", "run.ended", "tool.called"})


@dataclass(slots=True)
class OneTurn:
    """The events of one turn, as in a chat's object form, until its end; then `on_end()`."""

    run_id: UUID
    about: About
    on_end: Callable[[], None]
    _text: list[str] = field(default_factory=list)
    _is_over: bool = False

    async def __call__(self, pieces: list[Any]) -> list[bytes]:
        told = [frame(event) for piece in pieces for event in self._events(piece)]
        if self._is_over:
            self.on_end()
        return told

    def opening(self) -> bytes:
        return frame(event_json(self.about, "stream_open", ""))

    def _events(self, piece: Any) -> list[dict[str, Any]]:
        if piece.run_id != self.run_id or self._is_over:
            return []
        if isinstance(piece, Chunk):
            self._text.append(piece.text)
            return [event_json(self.about, "content", piece.text, stage="response_generation")]
        return self._of_fact(piece)

    def _of_fact(self, row: EventRow) -> list[dict[str, Any]]:
        told = row.payload
        if row.name == "run.ended":
            return self._ended(told)
        if row.name == "tool.called":
            return [event_json(self.about, "tool_call", told["tool"], tool_call_id=told["call_id"])]
        if row.name == "run.started":
            words = f"{self.about.agent} answers."
            return [event_json(self.about, "progress", words, stage="agent_selected")]
        if row.name == "run.waiting":
            return [event_json(self.about, "progress", "", stage="awaiting_clarification")]
        return []

    def _ended(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._is_over = True
        status = told["status"]
        kind = {"succeeded": "completed"}.get(status, status)
        words = "".join(self._text) if status == "succeeded" else told.get("error_message", "")
        outcome = "success" if status == "succeeded" else status
        last = event_json(self.about, kind, words, status=outcome, agent_used=self.about.agent)
        return [last, event_json(self.about, "stream_completed", "")]


# --- `GET /v1/logs` -------------------------------------------------------------------------------
FILTERS = ("user_id", "session_id", "request_id", "agent_id", "level", "event_type")


@dataclass(frozen=True, slots=True)
class LogOf:
    """The facts of a formation that fit all of `wanted` (name of `FILTERS` -> value; `*` for any text)."""

    actor: Actor
    wanted: Mapping[str, str]

    async def __call__(self, rows: list[EventRow]) -> list[bytes]:
        spoken = await db_call(with_names, self.actor, rows)
        entries = (_entry(said) for said in spoken)
        return [frame(entry, event="log") for entry in entries if self._fits(entry)]

    def _fits(self, entry: Mapping[str, Any]) -> bool:
        return all(
            fnmatchcase(entry[name] or "", value) if name == "event_type" else entry[name] == value
            for name, value in self.wanted.items()
        )


def _entry(said: Spoken) -> dict[str, Any]:
    row, told = said.row, said.row.payload
    failed = told.get("status") in {"failed", "error"} or bool(told.get("error_code"))
    data = {name: value for name, value in told.items() if name not in {"message", "state"}}
    return {
        "timestamp": row.created_at.timestamp(),
        "level": "error" if failed else "info",
        "event_type": row.name,
        "user_id": said.session.end_user if said.session else None,
        "session_id": said.session.key if said.session else None,
        "request_id": said.turn.request_id or None,
        "agent_id": said.turn.agent or None,
        "message": told.get("error_message") or row.name.replace(".", " ").replace("_", " "),
        "data": data,
    }
