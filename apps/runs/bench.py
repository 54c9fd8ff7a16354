"""A workbench for runs that are no single turn: several model conversations at once, and other work.

A review asks three reviewers, runs tests and looks at files, all in one run: one lease, one
cancellation, one meter. `Bench.turn` is a whole turn of the engine whose steps go to the run's journal as
they come; `Bench.step` is any other work, journaled under a name, so that a worker that takes the
run over does not do it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core.aio import db_call
from apps.core.rows import execute, insert
from apps.engine.calls import storable
from apps.engine.loop import run_turn
from apps.engine.ports import (
    Allowed,
    ChatMessage,
    Ending,
    Go,
    LeaseLost,
    Limits,
    Outcome,
    Ports,
    Spend,
    StepRecord,
    ToolResult,
)
from apps.engine.state import TurnState
from apps.runs import budgets
from apps.runs.models import Step, StepKind
from apps.runs.selectors import journal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from apps.core.actor import Actor
    from apps.engine.ports import (
        Cancel,
        Clock,
        Gate,
        ModelChoice,
        Sampling,
        ToolBox,
        ToolCall,
        ToolSpec,
        Verdict,
    )
    from apps.runs.holding import Hold

_HELD = "workspace_id = %s AND id = %s AND status = 'running' AND lease_owner = %s AND attempt = %s"
# Promises of turns that run side by side add up; a turn alone (`journal.py`) has one at a time.
_PROMISE = f"""UPDATE runs_run SET lease_until = now() + make_interval(secs => %s),
       reserved_tokens = reserved_tokens + %s, reserved_cost_micros = reserved_cost_micros + %s,
       reserved_tool_calls = reserved_tool_calls + %s
 WHERE {_HELD} RETURNING cancel_requested_at IS NOT NULL"""  # noqa: S608  (no input in it)
_RECORD = f"""UPDATE runs_run SET steps = steps + 1, tokens_in = tokens_in + %s,
       tokens_out = tokens_out + %s, cost_micros = cost_micros + %s, tool_calls = tool_calls + %s,
       reserved_tokens = reserved_tokens - %s, reserved_cost_micros = reserved_cost_micros - %s,
       reserved_tool_calls = reserved_tool_calls - %s
 WHERE {_HELD} RETURNING steps"""  # noqa: S608
_GIVE_BACK = f"""UPDATE runs_run SET reserved_tokens = reserved_tokens - %s,
       reserved_cost_micros = reserved_cost_micros - %s, reserved_tool_calls = reserved_tool_calls - %s
 WHERE {_HELD} RETURNING id"""  # noqa: S608


class NoTools:
    """A toolbox for a conversation without tools."""

    async def specs(self) -> Sequence[ToolSpec]:
        return ()

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        return ToolResult("There are no tools here.", is_error=True)


class Open:
    """A gate that lets everything pass: what it guards only reads."""

    async def may(self, call: ToolCall, *, key: str) -> Verdict:
        return Allowed()


class Quiet:
    """A listener that nobody is behind."""

    def delta(self, text: str) -> None:
        """Nobody reads along."""

    def call_started(self, call: ToolCall) -> None:
        """As above."""

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None:
        """As above."""


class Bench:
    """What a worker has at hand for one held run. Its turns and steps may run side by side."""

    def __init__(self, actor: Actor, hold: Hold, cancel: Cancel, clock: Clock) -> None:
        self.actor, self.hold, self.cancel, self._clock = actor, hold, cancel, clock
        self.model = ""
        self._known: dict[str, Any] | None = None

    async def turn(
        self,
        messages: Sequence[ChatMessage],
        models: Sequence[ModelChoice],
        *,
        key: str,
        toolbox: ToolBox | None = None,
        gate: Gate | None = None,
        sampling: Sampling | None = None,
        client_tools: Sequence[ToolSpec] = (),
        limits: Limits | None = None,
    ) -> Outcome:
        """One turn of the engine. `key` tells it from the other turns of this run."""
        ports = Ports(
            models=models,
            toolbox=toolbox or NoTools(),
            gate=gate or Open(),
            journal=_TurnJournal(self),
            listener=Quiet(),
            cancel=self.cancel,
            clock=self._clock,
        )
        outcome = await run_turn(
            TurnState(tuple(messages)),
            ports,
            run_key=f"{self.hold.run_id}:{key}",
            sampling=sampling,
            client_tools=client_tools,
            limits=limits,
        )
        if outcome.ending is Ending.LEASE_LOST:
            raise LeaseLost
        self.model = outcome.model or self.model
        return outcome

    async def step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """The JSON that `work` answers; when this run has journaled it under `name` before, that."""
        known = await self._journaled()
        if name in known:
            return known[name]
        began = time.monotonic()
        answer = storable(json.loads(json.dumps(await work(), default=str)))
        await db_call(self._record_work, name, answer, time.monotonic() - began)
        return answer

    async def _journaled(self) -> dict[str, Any]:
        if self._known is None:
            steps = []
            if self.hold.attempt > 1:
                steps = await db_call(journal_of, self.hold.workspace_id, self.hold.run_id)
            done = (step for step in steps if step.kind == StepKind.TOOL and step.call_id == "work")
            self._known = {step.name: (step.output or {}).get("data") for step in done}
        return self._known

    # --- The record -----------------------------------------------------------------------------
    @property
    def _held(self) -> list[Any]:
        return [self.hold.workspace_id, self.hold.run_id, self.hold.owner, self.hold.attempt]

    @transaction.atomic
    def promise(self, worst: Spend) -> tuple[Go, Spend]:
        """May a step that costs at most `worst` begin? (verdict, what is reserved for it)"""
        promised = budgets.reserve(self.hold, worst)
        if promised is False:
            return Go.BUDGET, Spend()
        kept = worst if promised else Spend()
        amounts = [kept.tokens, kept.cost_micros, kept.tool_calls]
        rows = execute(_PROMISE, [settings.LEASE_SECONDS, *amounts, *self._held])
        if not rows:
            transaction.set_rollback(True)
            return Go.LEASE_LOST, Spend()
        return (Go.CANCEL if rows[0][0] else Go.ON), kept

    @transaction.atomic
    def record(self, step: StepRecord, kept: Spend) -> None:
        """A step happened: journal it under the run's next number, settle its promise. LeaseLost."""
        usage, calls = step.usage, int(step.kind == "tool")
        spent = [usage.tokens_in, usage.tokens_out, step.cost_micros, calls]
        promised = [kept.tokens, kept.cost_micros, kept.tool_calls]
        rows = execute(_RECORD, [*spent, *promised, *self._held])
        if not rows:
            raise LeaseLost
        insert(self._row(step, rows[0][0]))
        real = Spend(usage.tokens_in + usage.tokens_out, step.cost_micros, calls)
        budgets.settle(self.hold, kept, real)

    @transaction.atomic
    def give_back(self, kept: Spend) -> None:
        """A promise that was not used."""
        promised = [kept.tokens, kept.cost_micros, kept.tool_calls]
        if execute(_GIVE_BACK, [*promised, *self._held]):
            budgets.settle(self.hold, kept, Spend())

    def _record_work(self, name: str, answer: Any, seconds: float) -> None:
        output = {"content": "", "data": answer}
        self.record(
            StepRecord(0, "tool", name, "ok", call_id="work", output=output, seconds=seconds),
            Spend(),
        )

    def _row(self, step: StepRecord, index: int) -> Step:
        ended = timezone.now()
        return Step(
            workspace_id=self.hold.workspace_id,
            run_id=self.hold.run_id,
            index=index,
            attempt=self.hold.attempt,
            kind=step.kind,
            name=step.name[:200],
            call_id=step.call_id[:120],
            status=step.status,
            input=step.input,
            output=step.output,
            tokens_in=step.usage.tokens_in,
            tokens_out=step.usage.tokens_out,
            cost_micros=step.cost_micros,
            started_at=ended - timedelta(seconds=step.seconds),
            finished_at=ended,
        )


class _TurnJournal:
    """`engine.ports.Journal` of one turn on a bench: its end is not the run's."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._kept = Spend()

    async def begin(self, index: int, worst: Spend) -> Go:
        go, self._kept = await db_call(self._bench.promise, worst)
        return go

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None:
        kept, self._kept = self._kept, Spend()
        await db_call(self._bench.record, step, kept)

    async def close(self, outcome: Outcome) -> None:
        """A promise that no step has used is given back."""
        if self._kept != Spend():
            kept, self._kept = self._kept, Spend()
            await db_call(self._bench.give_back, kept)


async def work(bench: Bench, job: Callable[[Bench], Awaitable[str]]) -> Outcome:
    """Do `job` on the bench until it ends or the run is cancelled: the run's outcome, whose text is
    what `job` answers.
    """
    doing = asyncio.ensure_future(job(bench))
    stop = asyncio.ensure_future(bench.cancel.wait())
    try:
        await asyncio.wait({doing, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            return Outcome(Ending.CANCELLED)
        return Outcome(Ending.DONE, text=doing.result(), model=bench.model)
    finally:
        stop.cancel()
        doing.cancel()
        await asyncio.gather(doing, stop, return_exceptions=True)
