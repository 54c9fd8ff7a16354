"""What runs are for. Apps above register how to plan a kind of run and what its rest means to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.db.models import Model

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.engine.ports import (
        ChatMessage,
        Gate,
        Limits,
        Listener,
        ModelChoice,
        Outcome,
        Sampling,
        ToolBox,
        ToolCall,
        ToolResult,
        ToolSpec,
    )
    from apps.runs.bench import Bench
    from apps.runs.holding import Hold


@dataclass(slots=True)
class Plan:
    """Everything the engine needs to carry a claimed run on."""

    actor: Actor
    messages: Sequence[ChatMessage]
    models: Sequence[ModelChoice]
    toolbox: ToolBox
    gate: Gate
    listener: Listener
    sampling: Sampling
    limits: Limits
    client_tools: Sequence[ToolSpec] = ()


@dataclass(slots=True)
class Rest:
    """What coming to rest changed above.

    `facts` to publish, `rows` to insert with the turn's last step; `waiting_for`: the approval a refused budget waits for; `wakes_next`: the
    session may have a queued turn to go on with.
    """

    facts: list[Fact] = field(default_factory=list)
    waiting_for: UUID | None = None
    rows: list[Model] = field(default_factory=list)
    wakes_next: bool = True


class Resting(Protocol):
    """What a kind of run is to the app above. These run in a transaction.

    `lock`: take the rows that stand above the run before the run's own, in the one order that all
    keep: session, run, budget, approval, stream head. `rested`: the run ends or waits. `woken`: what
    it waited for has come, it is queued again.
    """

    agent_key: str

    def lock(self, hold: Hold) -> None: ...

    def rested(self, actor: Actor, hold: Hold, outcome: Outcome) -> Rest: ...

    def woken(self, actor: Actor, hold: Hold) -> None: ...


class Quiet:
    """A listener that nobody is behind."""

    def delta(self, text: str) -> None:
        """Nobody reads along."""

    def call_started(self, call: ToolCall) -> None:
        """As above."""

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None:
        """As above."""


class RunKindHandler(Resting, Protocol):
    """A kind whose run is one turn of the engine. `plan` runs on the home loop."""

    async def plan(self, hold: Hold, run_input: dict[str, Any]) -> Plan: ...


@runtime_checkable
class BenchKindHandler(Resting, Protocol):
    """A kind whose run is work on a bench (see `bench`).

    `work` runs on the home loop; what it answers is the text of the outcome that `rested` is told.
    """

    async def work(self, bench: Bench, run_input: dict[str, Any]) -> str: ...


Handler = RunKindHandler | BenchKindHandler
_handlers: dict[str, Handler] = {}


def register(kind: str, handler: Handler) -> None:
    _handlers[kind] = handler


def handler_of(kind: str) -> Handler:
    return _handlers[kind]
