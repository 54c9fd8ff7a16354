"""A workbench for runs that are no single turn: several model conversations at once, and other work.

A review asks three reviewers, runs tests and looks at files, all in one run: one lease, one
cancellation, one meter. `Bench.turn` is a whole turn of the engine whose steps go to the run's journal
as they come; `Bench.step` is any other work, journaled under a name. A worker that takes the run over
repeats only what was not journaled: it does the same job from its beginning and meets its own answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call
from apps.engine.calls import storable
from apps.engine.loop import run_turn
from apps.engine.ports import (
    Allowed,
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
from apps.engine.state import rebuild
from apps.runs.kinds import Quiet
from apps.runs.ledger import Ledger
from apps.runs.models import StepKind
from apps.runs.selectors import journal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.engine.ports import (
        Cancel,
        ChatMessage,
        Clock,
        Gate,
        Journal,
        ModelChoice,
        Sampling,
        ToolBox,
        ToolCall,
        ToolSpec,
        Verdict,
    )
    from apps.runs.holding import Hold

LAST_WORDS = 0.3  # seconds in which turns that are cancelled write down what they have used


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


class Bench:
    """What a worker has at hand for one held run. Its turns and steps may run side by side.

    `model`: the reference that answered last.
    """

    def __init__(self, actor: Actor, hold: Hold, cancel: Cancel, clock: Clock) -> None:
        self.actor, self.hold, self.cancel = actor, hold, cancel
        self.model = ""
        self._clock, self.ledger = clock, Ledger(actor, hold)
        self._done: dict[str, Any] = {}
        self._turns: dict[str, list[StepRecord]] = {}
        self._talking: set[asyncio.Future[Outcome]] = set()
        self._writing: set[asyncio.Future[Any]] = set()
        self._stopped = asyncio.Event()

    # --- What a job does ------------------------------------------------------------------------
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
        replies: int | None = None,
    ) -> Outcome:
        """One turn of the engine; it goes on after the steps that were journaled under its `key`.

        `key` tells it from the other turns of this run; `replies` bounds the calls of a model (then
        it ends with `Ending.BUDGET`). Does not return when the run is cancelled. Raises LeaseLost.
        """
        known = self._turns.setdefault(key, [])
        talk = asyncio.ensure_future(
            run_turn(
                rebuild(messages, known),
                self._ports(models, toolbox, gate, _TurnJournal(self, key, replies)),
                run_key=f"{self.hold.run_id}:{key}",
                sampling=sampling,
                client_tools=client_tools,
                limits=limits,
            )
        )
        self._talking.add(talk)
        talk.add_done_callback(self._talking.discard)
        try:
            return await self._heard(await asyncio.shield(talk))
        except asyncio.CancelledError:
            if not self.cancel.is_set():  # else it may still write down what it has used
                talk.cancel()
            raise

    def _ports(
        self,
        models: Sequence[ModelChoice],
        toolbox: ToolBox | None,
        gate: Gate | None,
        journal: Journal,
    ) -> Ports:
        return Ports(
            models=models,
            toolbox=toolbox or NoTools(),
            gate=gate or Open(),
            journal=journal,
            listener=Quiet(),
            cancel=self.cancel,
            clock=self._clock,
        )

    async def _heard(self, outcome: Outcome) -> Outcome:
        if outcome.ending is Ending.LEASE_LOST:
            raise LeaseLost
        if outcome.ending is Ending.CANCELLED:
            self._stopped.set()
            await asyncio.Event().wait()  # a job must not take it for an answer
        self.model = outcome.model or self.model
        return outcome

    def steps_of(self, key: str) -> Sequence[StepRecord]:
        """What the turn `key` has journaled, in this life of the run and before."""
        return self._turns.get(key, ())

    async def step(
        self,
        name: str,
        work: Callable[[], Awaitable[Any]],
        *,
        news: Callable[[Any], Sequence[Fact]] | None = None,
    ) -> Any:
        """The JSON that `work` answers; when this run has journaled it under `name` before, that.

        `news` makes facts of the answer; they are published with the journal's entry, so once.
        """
        if name in self._done:
            return self._done[name]
        began = time.monotonic()
        answer = storable(json.loads(json.dumps(await work(), default=str)))
        step = StepRecord(
            0, StepKind.WORK, name, "ok", output={"data": answer}, seconds=time.monotonic() - began
        )
        await self.write(self.ledger.record, step, Spend(), news(answer) if news else ())
        self._done[name] = answer
        return answer

    async def tell(self, name: str, *facts: Fact) -> None:
        """Publish `facts`, once however often the run changes hands."""

        async def nothing() -> None:
            return None

        await self.step(name, nothing, news=lambda _: facts)

    # --- What carries it ------------------------------------------------------------------------
    async def recall(self) -> None:
        """Read what former holders have journaled."""
        await self.write(self.ledger.begin)
        if self.hold.attempt < 2:
            return
        for step in await db_call(journal_of, self.hold.workspace_id, self.hold.run_id):
            output = step.output or {}
            if step.kind == StepKind.WORK:
                self._done[step.name] = output.get("data")
            elif "turn" in output:
                self.noted(output["turn"], step)

    def noted(self, key: str, step: StepRecord) -> None:
        """A turn counts its own steps; in the journal they are mixed with those of others."""
        steps = self._turns.setdefault(key, [])
        steps.append(replace(step, index=len(steps) + 1))

    async def write(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call the ledger. Who is cancelled meanwhile stops waiting; the bench is put down after it."""
        writing = asyncio.ensure_future(db_call(call, *args))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    async def stopped(self) -> None:
        """Returns when the run is to stop."""
        waits = [asyncio.ensure_future(wait()) for wait in (self.cancel.wait, self._stopped.wait)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def last_words(self) -> None:
        """After a cancellation: let the turns write down what they have used."""
        if self._talking:
            await asyncio.wait(set(self._talking), timeout=LAST_WORDS)

    async def put_down(self) -> None:
        """End what still runs; no promise stays open."""
        for talk in list(self._talking):
            talk.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self.ledger.has_promised:
            await db_call(self.ledger.release)


class _TurnJournal:
    """`engine.ports.Journal` of one turn on a bench: its end is not the run's."""

    def __init__(self, bench: Bench, key: str, replies: int | None) -> None:
        self._bench, self._key, self._replies = bench, key, replies
        self._kept = Spend()

    async def begin(self, index: int, worst: Spend) -> Go:
        if self._replies is not None and not worst.tool_calls:
            steps = self._bench.steps_of(self._key)
            if sum(step.kind == StepKind.MODEL for step in steps) >= self._replies:
                return Go.BUDGET
        said: tuple[Go, Spend] = await self._bench.write(self._bench.ledger.promise, worst)
        self._kept = said[1]
        return said[0]

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None:
        kept, self._kept = self._kept, Spend()
        marked = replace(step, output={**(step.output or {}), "turn": self._key})
        await self._bench.write(self._bench.ledger.record, marked, kept)
        self._bench.noted(self._key, step)

    async def close(self, outcome: Outcome) -> None:
        kept, self._kept = self._kept, Spend()
        if kept != Spend():
            await self._bench.write(self._bench.ledger.give_back, kept)


async def work(
    bench: Bench, job: Callable[[Bench], Awaitable[str]], *, seconds: float | None = None
) -> Outcome:
    """Do `job` until it ends, the run is cancelled or `seconds` are over: the run's outcome, whose text
    is what `job` answers. What `job` raises is raised. Nothing of it runs on afterwards.
    """
    await bench.recall()
    doing = asyncio.ensure_future(job(bench))
    stop = asyncio.ensure_future(bench.stopped())
    try:
        await asyncio.wait({doing, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            await bench.last_words()
            return Outcome(Ending.CANCELLED, model=bench.model)
        if not doing.done():
            words = f"The run reached its time limit of {seconds:g} seconds."
            return Outcome(Ending.FAILED, code="time_limit", message=words, model=bench.model)
        return Outcome(Ending.DONE, text=doing.result(), model=bench.model)
    finally:
        stop.cancel()
        doing.cancel()
        await asyncio.gather(doing, stop, return_exceptions=True)
        await bench.put_down()
