"""Those who meet in the middle of a turn (a message, a decision, its end, the sweep) never deadlock.

All take session, run, budget, approval and stream head in that order. The controls show that the
meetings are real: two that take the same rows in different orders do wait for each other.
"""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from apps.approvals.errors import AlreadyDecided
from apps.approvals.services import decide, request
from apps.conversations.errors import TurnInProgress
from apps.conversations.services import create_session, post_message
from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.engine.ports import Ending, Outcome, Spend, StepRecord, Usage
from apps.runs import budgets
from apps.runs.holding import Hold
from apps.runs.journal import RunJournal
from apps.runs.models import Budget, Run
from apps.runs.services import cancel_run, claim_run, sweep_leases
from tests.support.completions import completion_in
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 12


def turn_of(aurora, session):
    """A claimed turn of the session."""
    post_message(aurora.ada, session.pk, content="Hello")
    run = Run.unscoped.filter(session_id=session.pk, status="queued").get()
    return RunJournal(Actor.for_engine(aurora.id), claim_run(aurora.id, run.pk)[0])


def waiting_turn(aurora, session):
    """A turn that waits for a permission, and what it asks."""
    journal = turn_of(aurora, session)
    asked = request(
        Actor.for_engine(aurora.id),
        action="Pay the bill",
        subject_type="run",
        subject_id=journal.hold.run_id,
        session_id=session.pk,
    )
    journal._close(Outcome(Ending.WAITING, approval_id=str(asked.pk)))
    return journal.hold.run_id, asked


def decided(actor, asked):
    """Decide; that the other was faster is an answer too."""
    try:
        decide(actor, asked.pk, decision="approve")
    except AlreadyDecided:
        return "late"
    return "decided"


def test_a_decision_and_a_message_meet(aurora, recording_queue):
    for _ in range(ROUNDS):
        session, _ = create_session(engine(aurora))
        run_id, asked = waiting_turn(aurora, session)
        outcome = race_each(
            [
                (decided, (aurora.ada, asked), {}),
                (post_message, (aurora.ada, session.pk), {"content": "Never mind"}),
                (cancel_run, (engine(aurora), run_id), {}),
            ]
        )
        assert not {OperationalError} & set(outcome.errors)
        left = Run.unscoped.filter(session_id=session.pk)
        assert left.filter(status="waiting").count() == 0


def engine(aurora):
    return Actor.for_engine(aurora.id)


def end(journal):
    step = StepRecord(1, "model", "stub/m", "ok", usage=Usage(5, 5), output={"text": "Hi"})
    journal._record(step, Outcome(Ending.DONE, text="Hi", usage=Usage(5, 5)))


def test_the_end_of_a_turn_and_a_message_and_the_sweep_meet(aurora, recording_queue):
    for _ in range(ROUNDS):
        session, _ = create_session(engine(aurora))
        journal = turn_of(aurora, session)
        Run.unscoped.filter(pk=journal.hold.run_id).update(
            lease_until=timezone.now() - timedelta(seconds=1)
        )
        outcome = race_each(
            [
                (end, (journal,), {}),
                (post_message, (aurora.ada, session.pk), {"content": "And?"}),
                (sweep_leases, (), {}),
            ]
        )
        assert not {OperationalError} & set(outcome.errors)


CALL = Spend(tokens=1)


def spend_often(hold, times=25):
    for _ in range(times):
        with transaction.atomic():
            assert budgets.reserve(hold, CALL)
        with transaction.atomic():
            budgets.settle(hold, CALL, CALL)


def test_a_decision_a_completion_and_a_message_meet(aurora, recording_queue):
    """Whoever is first, no turn is left waiting, and the session says what its turns do."""
    for _ in range(ROUNDS):
        session, _ = create_session(engine(aurora))
        _, asked = waiting_turn(aurora, session)
        completion = completion_in(aurora.ada, session)
        outcome = race_each(
            [
                (decided, (aurora.ada, asked), {}),
                (completion._open, (CALL,), {}),
                (post_message, (aurora.ada, session.pk), {"content": "And?"}),
            ]
        )
        assert set(outcome.errors) <= {TurnInProgress}
        turns = Run.unscoped.filter(session_id=session.pk)
        assert not turns.filter(status="waiting").exists()
        session.refresh_from_db()
        assert session.status == "running"
        assert turns.filter(status__in=["queued", "running"]).exists()


@pytest.fixture
def two_budgets(aurora):
    """A workspace's and an agent's; a hold under both."""
    agent = uuid7()
    budgets.set_budget(aurora.ada, "workspace", aurora.id, tokens=10_000)
    budgets.set_budget(aurora.ada, "agent", agent, tokens=10_000)
    return Hold(aurora.id, uuid7(), "chat", "nobody:1:x", 1, agent_id=agent)


def test_runs_under_the_same_two_budgets_do_not_deadlock(aurora, race, two_budgets):
    outcome = race(spend_often, two_budgets, runners=6)
    assert (outcome.winners, outcome.errors) == (6, [])
    spent = Budget.objects.in_workspace(aurora.id).values_list("spent_tokens", "reserved_tokens")
    assert set(spent) == {(150, 0)}


def crossing(first, second, meeting):
    with transaction.atomic(), connection.cursor() as cursor:
        for number, budget in enumerate((first, second)):
            if number:
                meeting.wait()
            cursor.execute("SELECT 1 FROM runs_budget WHERE id = %s FOR UPDATE", [budget])


def test_crossing_orders_do_deadlock(aurora, two_budgets):
    """Control: had the budgets no order, this is what would happen."""
    one, two = Budget.objects.in_workspace(aurora.id).values_list("pk", flat=True)
    meeting = threading.Barrier(2, timeout=10)
    outcome = race_each([(crossing, (one, two, meeting), {}), (crossing, (two, one, meeting), {})])
    assert set(outcome.errors) == {OperationalError}
