"""Scripted ports: a world for one turn, in memory, with a clock of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from apps.engine.loop import run_turn
from apps.engine.ports import (
    Allowed,
    ChatMessage,
    Go,
    LeaseLost,
    Limits,
    ModelChoice,
    Outcome,
    Ports,
    Spend,
    StepRecord,
    ToolCall,
    ToolEnds,
    ToolResult,
    ToolSpec,
)
from apps.engine.providers.scripted import Line, Scripted
from apps.engine.state import TurnState, rebuild

HELLO = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))


class Crash(Exception):
    """The process died here."""


class Journal:
    """Keeps everything. `crash_at`: the write that dies, counted from 0; before or after it is kept."""

    def __init__(self, crash_at: int | None = None, *, after: bool = False) -> None:
        self.steps: list[StepRecord] = []
        self.outcome: Outcome | None = None
        self.writes: list[str] = []
        self.reserved: list[Spend] = []
        self.go: list[Go] = []
        self.crash_at, self.after = crash_at, after
        self.lost = False

    def _write(self, what: str, keep: Any) -> None:
        place = len(self.writes)
        self.writes.append(what)
        if place == self.crash_at and not self.after:
            raise Crash
        keep()
        if place == self.crash_at:
            raise Crash

    async def begin(self, index: int, worst: Spend) -> Go:
        await asyncio.sleep(0)
        assert index == len(self.steps) + 1, "an index is used once and without a gap"
        self._write("begin", lambda: self.reserved.append(worst))
        return self.go.pop(0) if self.go else Go.ON

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise LeaseLost
        assert self.outcome is None, "nothing is written after the outcome"
        assert step.index == len(self.steps) + 1

        def keep() -> None:
            self.steps.append(step)
            self.outcome = outcome

        self._write("record", keep)

    async def close(self, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        assert self.outcome is None
        self._write("close", lambda: setattr(self, "outcome", outcome))


class Toolbox:
    """`tools`: name -> what it answers: a result, an exception, or an async function of the call."""

    def __init__(self, **tools: Any) -> None:
        self.tools = tools
        self.calls: list[tuple[str, str]] = []  # (name, key)

    async def specs(self) -> list[ToolSpec]:
        return [
            ToolSpec(
                name, f"does {name}", {"type": "object"}, ends_turn=isinstance(answer, ToolEnds)
            )
            for name, answer in self.tools.items()
        ]

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        self.calls.append((call.name, key))
        answer = self.tools[call.name]
        if callable(answer):
            return await answer(call)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, ToolResult) else ToolResult(str(answer))


class Gate:
    """`verdicts`: tool name -> verdict, or a list of them, asked in turn."""

    def __init__(self, **verdicts: Any) -> None:
        self.verdicts = verdicts
        self.asked: list[tuple[str, str]] = []

    async def may(self, call: ToolCall, *, key: str) -> Any:
        self.asked.append((call.name, key))
        verdict = self.verdicts.get(call.name, Allowed())
        return verdict.pop(0) if isinstance(verdict, list) else verdict


class Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.events: list[tuple[str, str]] = []

    def delta(self, text: str) -> None:
        self.heard.append(text)

    def call_started(self, call: ToolCall) -> None:
        self.events.append(("started", call.name))

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None:
        self.events.append(("failed" if result.is_error else "ended", call.name))


class Clock:
    """Time passes only when somebody sleeps and nobody else can run."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = self.now + seconds
        for _ in range(200):  # let everything else happen first
            await asyncio.sleep(0)
        self.now = max(self.now, wake)


@dataclass
class World:
    """One turn's surroundings. `lines`: what the first model says; `fallback`: the second."""

    lines: tuple[Line, ...] = (Line(("Hi",)),)
    fallback: tuple[Line, ...] | None = None
    toolbox: Toolbox = field(default_factory=Toolbox)
    gate: Gate = field(default_factory=Gate)
    journal: Journal = field(default_factory=Journal)
    listener: Listener = field(default_factory=Listener)
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=lambda: Limits(seconds=None))
    messages: tuple[ChatMessage, ...] = HELLO
    price: int = 1_000_000  # a micro-USD a token

    def __post_init__(self) -> None:
        scripts = [self.lines] if self.fallback is None else [self.lines, self.fallback]
        self.providers = [Scripted(lines) for lines in scripts]

    def ports(self) -> Ports:
        models = [
            ModelChoice(
                f"scripted/{place}",
                provider,
                f"m{place}",
                max_output=100,
                price_in=self.price,
                price_out=self.price,
            )
            for place, provider in enumerate(self.providers)
        ]
        return Ports(
            models,
            self.toolbox,
            self.gate,
            self.journal,
            self.listener,
            self.cancel,
            self.clock,
        )

    async def run(self, **options: Any) -> Outcome:
        """Run, or resume after what the journal has."""
        state: TurnState = rebuild(self.messages, self.journal.steps)
        return await run_turn(state, self.ports(), run_key="run", limits=self.limits, **options)

    @property
    def heard(self) -> str:
        return "".join(self.listener.heard)


def asks(*names: str, text: tuple[str, ...] = ()) -> Line:
    """A reply that calls tools."""
    calls = tuple(ToolCall(f"c{place}-{name}", name, {}) for place, name in enumerate(names))
    return Line(text, calls=calls)
