"""A provider that says what it was told to: for tests and dry runs, never chosen by default.

`scripted/echo` repeats the user; other names are scripts given to `add_script` as data.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.engine.history import estimate, text_tokens
from apps.engine.ports import (
    CallReady,
    Fault,
    Finished,
    ProviderFailed,
    TextDelta,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from apps.engine.ports import ModelEvent, ModelRequest


@dataclass(frozen=True, slots=True)
class Line:
    """One reply: chunks of text, then calls, then a fault or the end. `delay` seconds before each
    chunk. `hang`: never come to the end. `usage` None: estimated.
    """

    text: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    fault: Fault | None = None
    retry_after: float | None = None
    delay: float = 0.0
    hang: bool = False
    reason: str = ""
    usage: Usage | None = None


class Scripted:
    """Gives `lines` in order, and refuses when they are over.

    `by_place`: the line is chosen by the number of replies since the user spoke, so that a run
    resumed in another process goes on at the right one.
    """

    def __init__(self, lines: Sequence[Line], *, by_place: bool = False) -> None:
        self.name = "scripted"
        self.lines, self.by_place = tuple(lines), by_place
        self.requests: list[ModelRequest] = []
        self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        line = self._line(request)
        try:
            for chunk in line.text:
                await asyncio.sleep(line.delay)
                yield TextDelta(chunk)
            if line.hang:
                await asyncio.Event().wait()
            if line.fault:
                raise ProviderFailed(
                    line.fault, f"scripted: {line.fault}", retry_after=line.retry_after
                )
            for call in line.calls:
                yield CallReady(call)
            reason = line.reason or ("tool_calls" if line.calls else "stop")
            yield Finished(reason, line.usage or _usage(request, line))
        finally:
            self.closed += 1

    def _line(self, request: ModelRequest) -> Line:
        place = _replies(request) if self.by_place else len(self.requests) - 1
        if place >= len(self.lines):
            raise ProviderFailed(Fault.REJECTED, "the script is over")
        return self.lines[place]


class Echo:
    """Repeats the last message, word by word."""

    name = "scripted"

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        words = request.messages[-1].content.split(" ") if request.messages else []
        line = Line(tuple(word if not place else " " + word for place, word in enumerate(words)))
        for chunk in line.text:
            yield TextDelta(chunk)
        yield Finished("stop", _usage(request, line))


def _usage(request: ModelRequest, line: Line) -> Usage:
    made = text_tokens("".join(line.text)) + 8 * len(line.calls)
    return Usage(estimate(request.messages, request.tools), made)


def _replies(request: ModelRequest) -> int:
    count = 0
    for message in reversed(request.messages):
        if message.role == "user":
            break
        count += message.role == "assistant"
    return count


_scripts: dict[str, tuple[Line, ...]] = {}


def add_script(name: str, lines: Sequence[Line] | Sequence[dict[str, Any]]) -> None:
    """Make `scripted/{name}` answer with `lines`: `Line`s, or dicts with their fields as JSON has them."""
    _scripts[name] = tuple(line if isinstance(line, Line) else read_line(line) for line in lines)


def read_line(data: dict[str, Any]) -> Line:
    """`{"text": ["a", "b"], "calls": [{"id", "name", "arguments"}], "fault": "rate_limited", …}`."""
    text, fault, usage = data.get("text") or (), data.get("fault"), data.get("usage")
    return Line(
        text=(text,) if isinstance(text, str) else tuple(text),
        calls=tuple(
            ToolCall(str(call.get("id", "")), call["name"], call.get("arguments") or {})
            for call in data.get("calls") or ()
        ),
        fault=Fault(fault) if fault else None,
        retry_after=data.get("retry_after"),
        delay=float(data.get("delay") or 0),
        hang=bool(data.get("hang")),
        reason=str(data.get("reason") or ""),
        usage=Usage(**usage) if usage else None,
    )


def provider(name: str) -> Scripted | Echo | None:
    """The provider of `scripted/{name}`; None: there is no such script."""
    if name == "echo":
        return Echo()
    return Scripted(_scripts[name], by_place=True) if name in _scripts else None
