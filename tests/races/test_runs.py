"""Runs and budgets under contention: one winner, one turn a session, no cap passed."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from django.db import transaction

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.engine.ports import Spend
from apps.runs.budgets import reserve, set_budget, settle
from apps.runs.errors import RunNotClaimable
from apps.runs.holding import Hold
from apps.runs.models import Budget, Run, RunStatus
from apps.runs.services import claim_run, open_run
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queued(aurora, recording_queue):
    return partial(open_run, Actor.for_engine(aurora.id), kind="chat")


def claim_run_without_guard(workspace_id, run_id, meeting):
    run = Run.objects.in_workspace(workspace_id).get(pk=run_id)
    if run.status != RunStatus.QUEUED:
        raise RunNotClaimable
    meeting.wait()
    run.status = RunStatus.RUNNING
    run.save(update_fields=["status"])


def test_only_one_worker_gets_a_queued_run(race, aurora, queued):
    run = queued()
    outcome = race(claim_run, aurora.id, run.pk, runners=12)
    assert outcome.winners == 1
    assert set(outcome.errors) == {RunNotClaimable}
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("running", 1)


def test_the_race_for_a_run_is_real(race, aurora, queued):
    """Control: read-then-save lets two workers in. If this fails, the test above proves nothing."""
    meeting = threading.Barrier(2, timeout=10)
    outcome = race(claim_run_without_guard, aurora.id, queued().pk, meeting, runners=2)
    assert outcome.winners == 2


def test_a_session_has_one_turn_at_a_time(aurora, queued):
    session = uuid7()
    runs = [queued(session_id=session) for _ in range(6)]
    outcome = race_each([(claim_run, (aurora.id, run.pk), {}) for run in runs])
    assert outcome.winners == 1
    assert set(outcome.errors) == {RunNotClaimable}


def test_runs_of_different_sessions_do_not_wait_for_each_other(aurora, queued):
    """Control: it is the session that let one in above, not some lock on everything."""
    runs = [queued(session_id=uuid7()) for _ in range(6)]
    outcome = race_each([(claim_run, (aurora.id, run.pk), {}) for run in runs])
    assert outcome.winners == 6


def hold_in(workspace_id):
    return Hold(workspace_id, uuid7(), "chat", "nobody:1:x", 1)


CALL = Spend(tokens=100)


def spend_once(workspace_id):
    """One call: promised at its worst, settled at less, as the engine does."""
    hold = hold_in(workspace_id)
    with transaction.atomic():
        if not reserve(hold, CALL):
            raise LookupError
    with transaction.atomic():
        settle(hold, CALL, Spend(tokens=100))


def test_a_hundred_calls_against_a_cap_for_ten_spend_the_cap(race, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1000)
    outcomes = [race(spend_once, aurora.id, runners=20) for _ in range(5)]
    assert sum(outcome.winners for outcome in outcomes) == 10
    budget = Budget.objects.in_workspace(aurora.id).get()
    assert (budget.spent_tokens, budget.reserved_tokens) == (1000, 0)


def reserve_without_lock(workspace_id, meeting):
    budget = Budget.objects.in_workspace(workspace_id).get()
    meeting.wait()
    if budget.spent_tokens + CALL.tokens > budget.limit_tokens:
        raise LookupError
    budget.spent_tokens += CALL.tokens
    budget.save(update_fields=["spent_tokens"])


def test_the_race_for_a_budget_is_real(race, aurora):
    """Control: look-then-spend lets two calls through a cap for one."""
    set_budget(aurora.ada, "workspace", aurora.id, tokens=100)
    meeting = threading.Barrier(2, timeout=10)
    assert race(reserve_without_lock, aurora.id, meeting, runners=2).winners == 2
