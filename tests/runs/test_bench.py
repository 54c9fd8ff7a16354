"""Work on a bench: turns side by side, each step journaled once, one meter, one way to stop."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from apps.core.aio import db_call, spawn, together
from apps.engine.ports import (
    ChatMessage,
    Ending,
    Fault,
    ModelChoice,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from apps.engine.providers.scripted import Line, Scripted
from apps.events.models import Event
from apps.runs import kinds, runner
from apps.runs.bench import NoTools
from apps.runs.budgets import set_budget
from apps.runs.events import RunQueued
from apps.runs.models import Budget, Run, Step
from apps.runs.services import cancel_run, open_run, sweep_leases
from tests.runs.test_journal import Probe
from tests.support.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
HELLO = [ChatMessage("user", "Hello")]


class Working(Probe):
    """A kind of run whose work a test gives it as a coroutine function of the bench."""

    async def work(self, bench, run_input):
        return await self.job(bench)


class Tools(NoTools):
    """One tool, `look`, which remembers the keys it was called with."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def specs(self):
        return (ToolSpec("look", "Look.", {"type": "object"}),)

    async def call(self, call, *, key):
        self.keys.append(key)
        return ToolResult("nothing")


@pytest.fixture
def working(monkeypatch):
    handler = Working()
    monkeypatch.setitem(kinds._handlers, "probe", handler)
    return handler


@pytest.fixture
def queued(aurora, recording_queue, working):
    return lambda **more: open_run(aurora.ada, kind="probe", **more)


def carry(run):
    return spawn(runner.advance(run.workspace_id, run.pk))


def model(*lines, price=1_000_000):
    provider = Scripted(lines)
    return [ModelChoice("scripted/x", provider, "x", price_in=price, price_out=price)]


def line(text="Well.", **more):
    return Line((text,), usage=Usage(10, 5), **more)


LOOK = line(calls=(ToolCall("c1", "look", {}),))


def finished(run):
    run.refresh_from_db()
    return run


def test_turns_run_side_by_side_in_one_journal(queued, working):
    tools, first, second = Tools(), model(LOOK, line("One.")), model(LOOK, line("Two."))

    async def job(bench):
        turns = [
            bench.turn(HELLO, models, key=key, toolbox=tools)
            for key, models in (("a", first), ("b", second))
        ]
        return json.dumps([outcome.last for outcome in await together(*turns)])

    working.job = job
    run = queued()
    carry(run).result(10)
    assert working.rests[0].text == '["One.", "Two."]'
    steps = list(Step.unscoped.filter(run=run).order_by("index"))
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    assert finished(run).status == "succeeded"
    spent = (run.tokens_in, run.tokens_out, run.cost_micros, run.tool_calls, run.steps)
    assert spent == (40, 20, 60, 2, 6)
    assert len(set(tools.keys)) == 2


def test_what_was_spent_is_the_sum_of_the_steps(queued, working, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1_000_000)

    async def job(bench):
        turns = [
            bench.turn(HELLO, model(LOOK, line()), key=str(n), toolbox=Tools()) for n in range(8)
        ]
        await together(*turns)
        return ""

    working.job = job
    run = queued()
    carry(run).result(20)
    budget = Budget.unscoped.get()
    steps = Step.unscoped.filter(run=run)
    assert steps.count() == 24
    assert budget.spent_tokens == sum(step.tokens_in + step.tokens_out for step in steps) == 240
    assert (budget.spent_tool_calls, budget.spent_cost_micros) == (8, 240)
    assert (budget.reserved_tokens, budget.reserved_cost_micros, budget.reserved_tool_calls) == (
        0,
        0,
        0,
    )
    assert finished(run).reserved_tokens == 0


def test_a_spent_budget_ends_a_turn_and_not_the_run(queued, working, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=10)

    async def job(bench):
        outcome = await bench.turn(HELLO, model(line()), key="a")
        return f"{outcome.ending} {outcome.code}"

    working.job = job
    run = queued()
    carry(run).result(10)
    assert working.rests[0].text == "budget budget_exceeded"
    assert finished(run).status == "succeeded"
    assert Budget.unscoped.get().spent_tokens == 0


def test_the_replies_of_a_turn_can_be_bounded(queued, working):
    async def job(bench):
        outcome = await bench.turn(HELLO, model(*[LOOK] * 9), key="a", toolbox=Tools(), replies=2)
        return outcome.ending

    working.job = job
    carry(queued()).result(10)
    assert working.rests[0].text == Ending.BUDGET


# --- Taken over -------------------------------------------------------------------------------
def lost(run):
    """As after a kill -9: its lease has run out, and the sweep hands it on."""
    Run.unscoped.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
    assert sweep_leases() == 1


def test_who_takes_over_repeats_only_what_was_not_journaled(queued, working):
    done, tools, models = [], Tools(), model(LOOK, line("Seen."), line("Again?"))
    hang = asyncio.Event()

    async def measure():
        done.append("measured")
        return {"value": 7}

    async def job(bench):
        value = await bench.step("measure", measure, news=lambda _: [queued_fact(bench)])
        outcome = await bench.turn(HELLO, models, key="a", toolbox=tools)
        if bench.hold.attempt == 1:
            await hang.wait()
        return f"{value['value']} {outcome.last}"

    working.job = job
    run = queued()
    first = carry(run)
    wait_until(lambda: Step.unscoped.filter(run=run).count() == 4)
    lost(run)
    carry(run).result(10)
    assert working.rests[-1].text == "7 Seen."
    assert (done, len(tools.keys), len(models[0].provider.requests)) == (["measured"], 1, 2)
    assert Event.objects.filter(name="run.queued").count() == 2  # the run's own, and the step's
    assert finished(run).status == "succeeded"
    first.cancel()


def queued_fact(bench):
    return RunQueued(run_id=bench.hold.run_id, kind="probe")


def test_a_turn_goes_on_in_its_middle(queued, working):
    tools, hang = Tools(), asyncio.Event()
    models = model(LOOK, line("Seen."))

    class Slow(Tools):
        async def call(self, call, *, key):
            await hang.wait()

    async def job(bench):
        box = Slow() if bench.hold.attempt == 1 else tools
        return (await bench.turn(HELLO, models, key="a", toolbox=box)).last

    working.job = job
    run = queued()
    first = carry(run)
    wait_until(lambda: Step.unscoped.filter(run=run).count() == 1)
    lost(run)
    carry(run).result(10)
    assert (working.rests[-1].text, len(tools.keys)) == ("Seen.", 1)
    assert len(models[0].provider.requests) == 2
    first.cancel()


def test_who_lost_the_lease_writes_nothing_more(queued, working):
    go = asyncio.Event()

    async def job(bench):
        if bench.hold.attempt == 1:
            await go.wait()
            await bench.tell("late")
        return "mine"

    working.job = job
    run = queued()
    first = carry(run)
    wait_until(lambda: runner.live_count() == 1)
    wait_until(lambda: finished(run).status == "running")
    lost(run)
    carry(run).result(10)
    spawn(let_go(go)).result(5)
    first.result(10)
    assert not Step.unscoped.filter(run=run, name="late").exists()
    assert [rest.text for rest in working.rests] == ["mine"]


async def let_go(event):
    event.set()


# --- Stopped ----------------------------------------------------------------------------------
def test_a_cancelled_run_stops_all_its_turns_and_counts_what_they_used(queued, working, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1_000_000)
    answers = []

    async def job(bench):
        turns = [bench.turn(HELLO, model(line(hang=True)), key=str(n)) for n in range(3)]
        answers.append(await together(*turns))
        return "never"

    working.job = job
    run = queued()
    going = carry(run)
    wait_until(lambda: Budget.unscoped.get().reserved_tokens > 0)
    time.sleep(0.1)
    began = time.monotonic()
    cancel_run(aurora.ada, run.pk)
    going.result(10)
    assert time.monotonic() - began < 1
    assert (finished(run).status, answers) == ("cancelled", [])
    steps = Step.unscoped.filter(run=run)
    assert [step.status for step in steps] == ["cancelled"] * 3
    budget = Budget.unscoped.get()
    assert budget.reserved_tokens == 0
    assert budget.spent_tokens == sum(step.tokens_in + step.tokens_out for step in steps) > 0


def test_work_that_is_cut_off_leaves_no_promise_behind(queued, working, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1_000_000)

    async def job(bench):
        async def fail():
            await asyncio.sleep(0.3)  # by then its turn has promised
            raise RuntimeError("broken")

        await together(bench.turn(HELLO, model(line(hang=True)), key="a"), fail())
        return "never"

    working.job = job
    run = queued()
    carry(run).result(10)
    assert (finished(run).status, run.error_code) == ("failed", "internal")
    assert (run.reserved_tokens, Budget.unscoped.get().reserved_tokens) == (0, 0)


def test_a_run_that_takes_too_long_fails(queued, working):
    async def job(bench):
        await asyncio.Event().wait()

    working.job = job
    run = queued(limits={"seconds": 0.2})
    carry(run).result(10)
    assert (finished(run).status, run.error_code) == ("failed", "time_limit")


def test_the_faults_of_a_provider_are_the_turns(queued, working):
    async def job(bench):
        outcome = await bench.turn(HELLO, model(Line(fault=Fault.AUTH)), key="a")
        return outcome.code

    working.job = job
    carry(queued()).result(10)
    assert working.rests[0].text == "provider_auth"


def test_the_first_failure_ends_the_others():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    async def fail():
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(together(slow(), fail()))
    assert ended == ["slow"]


def test_the_ledger_may_be_called_from_many_threads(queued, working):
    async def job(bench):
        async def one(n):
            return await bench.step(f"step {n}", lambda: db_call(int, n))

        return json.dumps(await together(*(one(n) for n in range(20))))

    working.job = job
    run = queued()
    carry(run).result(10)
    assert working.rests[0].text == json.dumps(list(range(20)))
    steps = Step.unscoped.filter(run=run, kind="work").order_by("index")
    assert [step.index for step in steps] == list(range(1, 21))
