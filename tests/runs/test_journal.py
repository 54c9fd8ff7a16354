"""The journal of a held run: durable steps, promises settled, nothing written from a lost lease."""

from __future__ import annotations

import pytest

from apps.core.actor import Actor
from apps.engine.ports import Ending, Go, LeaseLost, Outcome, Spend, StepRecord, Usage
from apps.events.models import Event
from apps.runs import kinds
from apps.runs.budgets import set_budget
from apps.runs.journal import RunJournal
from apps.runs.models import Budget, Run, Step
from apps.runs.services import claim_run, open_run

pytestmark = pytest.mark.django_db(transaction=True)


class Probe:
    """A kind of run that means nothing above."""

    agent_key = "probe"

    def __init__(self) -> None:
        self.rests: list[Outcome] = []

    def lock(self, hold):
        pass

    def woken(self, actor, hold):
        pass

    def rested(self, actor, hold, outcome):
        self.rests.append(outcome)
        return kinds.Rest()


@pytest.fixture
def probe(monkeypatch):
    handler = Probe()
    monkeypatch.setitem(kinds._handlers, "probe", handler)
    return handler


@pytest.fixture
def held(aurora, recording_queue, probe):
    """A claimed run and its journal."""
    run = open_run(aurora.ada, kind="probe")
    hold, _, _ = claim_run(aurora.id, run.pk)
    return run, RunJournal(Actor.for_engine(aurora.id), hold)


def model_step(index=1, *, calls=()):
    return StepRecord(
        index=index,
        kind="model",
        name="stub/model",
        status="ok",
        output={"text": "Hello", "calls": list(calls)},
        usage=Usage(10, 5),
        cost_micros=7,
        seconds=0.5,
    )


def done():
    return Outcome(Ending.DONE, text="Hello", model="stub/model", usage=Usage(10, 5), cost_micros=7)


def names(workspace):
    rows = Event.objects.filter(workspace_id=workspace).order_by("seq")
    return [
        name for name in rows.values_list("name", flat=True) if name.startswith(("run", "tool"))
    ]


def test_the_step_that_ends_a_turn_ends_the_run_with_it(held, probe, aurora):
    run, journal = held
    assert journal._begin(Spend(tokens=100)) is Go.ON
    journal._record(model_step(), done())
    run.refresh_from_db()
    assert (run.status, run.tokens_in, run.tokens_out, run.cost_micros) == ("succeeded", 10, 5, 7)
    assert (run.lease_owner, run.lease_until, run.steps) == ("", None, 1)
    assert Step.objects.in_workspace(aurora.id).get(run=run).output["text"] == "Hello"
    assert names(aurora.id) == ["run.queued", "run.started", "run.ended"]
    assert len(probe.rests) == 1


def test_a_tool_call_and_its_result_are_news(held, aurora):
    _, journal = held
    call = {"id": "call_1", "name": "now", "arguments": {"api_key": "hush", "zone": "UTC"}}
    journal._begin(Spend())
    journal._record(model_step(calls=[call]), None)
    journal._begin(Spend(tool_calls=1))
    tool = StepRecord(
        index=2, kind="tool", name="now", status="ok", call_id="call_1", output={"content": "noon"}
    )
    journal._record(tool, None)
    said = {e.name: e.payload for e in Event.objects.filter(workspace_id=aurora.id)}
    assert said["tool.called"]["arguments"] == {"api_key": "[redacted]", "zone": "UTC"}
    assert said["tool.returned"]["result"] == "noon"
    assert said["tool.returned"]["status"] == "ok"


def test_nothing_is_written_from_a_lost_lease(held, aurora):
    run, journal = held
    Run.objects.in_workspace(aurora.id).filter(pk=run.pk).update(attempt=2)
    assert journal._begin(Spend()) is Go.LEASE_LOST
    with pytest.raises(LeaseLost):
        journal._record(model_step(), done())
    with pytest.raises(LeaseLost):
        journal._close(done())
    assert not Step.objects.in_workspace(aurora.id).exists()
    assert names(aurora.id) == ["run.queued", "run.started"]


def test_a_lost_lease_does_not_keep_what_it_reserved(held, aurora):
    run, journal = held
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1000)
    Run.objects.in_workspace(aurora.id).filter(pk=run.pk).update(attempt=2)
    journal._begin(Spend(tokens=100))
    assert Budget.objects.in_workspace(aurora.id).get().reserved_tokens == 0


def test_a_promise_becomes_the_real_figure(held, aurora):
    _, journal = held
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1000, cost_micros=500)
    journal._begin(Spend(tokens=400, cost_micros=300))
    budget = Budget.objects.in_workspace(aurora.id).get()
    assert (budget.reserved_tokens, budget.reserved_cost_micros) == (400, 300)
    journal._record(model_step(), done())
    budget.refresh_from_db()
    assert (budget.reserved_tokens, budget.spent_tokens, budget.spent_cost_micros) == (0, 15, 7)


@pytest.mark.parametrize(
    "cap", [{"tokens": 99}, {"cost_micros": 9}, {"tool_calls": 0}], ids=lambda cap: next(iter(cap))
)
def test_a_cap_refuses_the_call_that_might_pass_it(held, aurora, cap):
    _, journal = held
    set_budget(aurora.ada, "workspace", aurora.id, **cap)
    assert journal._begin(Spend(tokens=100, cost_micros=10, tool_calls=1)) is Go.BUDGET
    assert Budget.objects.in_workspace(aurora.id).get().reserved_tokens == 0


def test_closing_gives_back_what_was_promised(held, aurora):
    _, journal = held
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1000)
    journal._begin(Spend(tokens=400))
    journal._close(Outcome(Ending.FAILED, code="upstream_error", message="It broke."))
    budget = Budget.objects.in_workspace(aurora.id).get()
    assert (budget.reserved_tokens, budget.spent_tokens) == (0, 0)
    run = Run.objects.in_workspace(aurora.id).get()
    assert (run.status, run.error_code) == ("failed", "upstream_error")


def test_a_waiting_run_holds_no_worker(held, aurora):
    run, journal = held
    approval = "0197f000-0000-7000-8000-000000000001"
    journal._begin(Spend())
    journal._close(Outcome(Ending.WAITING, approval_id=approval))
    run.refresh_from_db()
    assert (run.status, str(run.waiting_for), run.lease_owner) == ("waiting", approval, "")
    assert run.finished_at is None
    assert names(aurora.id)[-1] == "run.waiting"


def test_a_cancellation_asked_for_is_heard_before_the_next_step(held, aurora):
    from apps.runs.services import cancel_run

    run, journal = held
    cancel_run(aurora.ada, run.pk, reason="enough")
    assert journal._begin(Spend()) is Go.CANCEL


def test_a_plain_turn_costs_few_statements(held, count_queries):
    """Two transactions a turn: this is the hot path of every chat."""
    _, journal = held
    with count_queries(4):  # savepoint-free: begin, budgets, lease, commit
        journal._begin(Spend(tokens=10))
    with count_queries(5):  # begin, run, step, events, commit
        journal._record(model_step(), done())
