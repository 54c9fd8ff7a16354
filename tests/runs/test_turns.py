"""What a turn's end, wait, loss or cancellation means to its session, its questions and its meters."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.approvals.errors import AlreadyDecided
from apps.approvals.models import Approval, ApprovalStatus
from apps.approvals.services import decide, expire, request
from apps.conversations.models import Message, Session
from apps.conversations.services import (
    create_session,
    end_session,
    post_message,
    resume_session,
    stop_turn,
)
from apps.core.actor import Actor
from apps.engine.ports import Ending, Outcome, Spend, StepRecord, Usage
from apps.events.log import log_after
from apps.runs.journal import RunJournal
from apps.runs.models import Budget, Run
from apps.runs.services import cancel_run, claim_run, sweep_leases
from tests.support.completions import completion_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session(aurora, recording_queue):
    return create_session(aurora.ada, token_budget=1000)[0]


def step(index, tokens, *, kind="model", **more):
    return StepRecord(
        index, kind, "stub/default", "ok", usage=Usage(tokens, 0), output={"text": "Well."}, **more
    )


def claimed_turn(aurora, session, text="Hello"):
    """A posted message's turn, in this process's hands: its journal."""
    post_message(aurora.ada, session.pk, content=text)
    run = Run.unscoped.filter(session_id=session.pk, status="queued").latest("created_at")
    return reclaimed(aurora, run)


def reclaimed(aurora, run):
    hold, _, _ = claim_run(aurora.id, run.pk)
    return RunJournal(Actor.for_engine(aurora.id), hold)


def ask(aurora, session, journal, kind="question"):
    """The agent asks, and its turn rests for the answer."""
    asked = request(
        Actor.for_engine(aurora.id),
        kind=kind,
        action="Which city?",
        context={"tokens_used": 900, "token_budget": 1000},
        subject_type="run",
        subject_id=journal.hold.run_id,
        session_id=session.pk,
    )
    outcome = Outcome(Ending.WAITING, text="Well.", approval_id=str(asked.pk), usage=Usage(100, 0))
    journal._close(outcome)
    return asked


def spent(aurora, session, journal):
    """The session's budget is spent in the middle of the turn: it pauses and asks for more."""
    Session.unscoped.filter(pk=session.pk).update(tokens_used=900)
    journal._close(Outcome(Ending.BUDGET, code="budget_exceeded"))
    return Approval.unscoped.get(session_id=session.pk, status="pending")


def test_tokens_of_a_turn_that_waited_are_counted_once(aurora, session):
    journal = claimed_turn(aurora, session)
    journal._record(step(1, 100), None)
    asked = ask(aurora, session, journal)
    decide(aurora.ada, asked.pk, decision="approve", answer="Oslo")
    again = reclaimed(aurora, Run.unscoped.get())
    again._record(step(2, 50), Outcome(Ending.DONE, text="Oslo.", usage=Usage(150, 0)))
    session.refresh_from_db()
    assert session.tokens_used == Run.unscoped.get().tokens_in == 150


def test_an_ended_session_stays_ended_whoever_allows_more(aurora, session):
    journal = claimed_turn(aurora, session)
    asked = spent(aurora, session, journal)
    end_session(aurora.ada, session.pk)
    with pytest.raises(AlreadyDecided):
        decide(aurora.ada, asked.pk, decision="approve", answer={"extra_tokens": 500})
    session.refresh_from_db()
    assert session.status == "ended"


def test_a_turn_cancelled_by_an_operator_frees_its_session(aurora, session):
    journal = claimed_turn(aurora, session)
    journal._record(step(1, 100), None)
    asked = ask(aurora, session, journal)
    cancel_run(aurora.ada, journal.hold.run_id, reason="by the console")
    session.refresh_from_db()
    asked.refresh_from_db()
    assert (session.status, session.tokens_used) == ("idle", 100)
    assert asked.status == ApprovalStatus.WITHDRAWN
    reply = Message.unscoped.get(role="assistant")
    assert (reply.content, reply.state) == ("Well.", "interrupted")


def test_a_queued_turn_cancelled_by_an_operator_frees_its_session(aurora, session):
    post_message(aurora.ada, session.pk, content="Hello")
    cancel_run(aurora.ada, Run.unscoped.get().pk)
    session.refresh_from_db()
    assert session.status == "idle"


def test_a_stopped_turn_asks_nothing_any_more(aurora, session):
    journal = claimed_turn(aurora, session)
    asked = ask(aurora, session, journal)
    assert stop_turn(aurora.ada, session.pk)
    asked.refresh_from_db()
    session.refresh_from_db()
    assert (asked.status, session.status) == ("withdrawn", "idle")


def test_a_resumed_session_is_not_ended_by_the_question_it_left_behind(aurora, session):
    journal = claimed_turn(aurora, session)
    asked = spent(aurora, session, journal)
    resume_session(aurora.ada, session.pk)
    Approval.unscoped.filter(pk=asked.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not expire(Actor.for_system(aurora.id), asked.pk)
    session.refresh_from_db()
    assert session.status == "running"
    assert list(Run.unscoped.order_by("created_at").values_list("status", flat=True)) == [
        "cancelled",
        "queued",
    ]


def test_a_cancellation_asked_for_while_the_agent_asks_is_heard(aurora, session):
    journal = claimed_turn(aurora, session)
    stop_turn(aurora.ada, session.pk)
    asked = ask(aurora, session, journal)
    session.refresh_from_db()
    asked.refresh_from_db()
    run = Run.unscoped.get()
    assert (run.status, session.status, asked.status) == ("cancelled", "idle", "withdrawn")


def test_what_was_interrupted_stands_before_what_interrupted_it(aurora, session):
    journal = claimed_turn(aurora, session, "Tell me everything")
    post_message(aurora.ada, session.pk, content="Stop, something else")
    post_message(aurora.ada, session.pk, content="Really")
    journal._record(step(1, 100), Outcome(Ending.CANCELLED, text="Once upon"))
    told = Message.unscoped.order_by("created_at", "id").values_list("content", flat=True)
    assert list(told) == [
        "Tell me everything",
        "Once upon",
        "Stop, something else",
        "Really",
    ]


def test_a_turn_whose_worker_is_lost_for_good_keeps_what_it_said_and_spent(aurora, session):
    journal = claimed_turn(aurora, session)
    journal._record(step(1, 100), None)
    Run.unscoped.update(
        lost_leases=2, in_step=True, lease_until=timezone.now() - timedelta(seconds=1)
    )
    sweep_leases()
    session.refresh_from_db()
    assert (session.status, session.tokens_used) == ("idle", 100)
    assert Message.unscoped.get(role="assistant").content == "Well."


def test_a_completion_that_has_waited_survives_the_loss_of_its_worker(aurora, session):
    journal = completion_in(aurora.ada, session)
    journal._open(Spend())
    journal.hold = replace(journal.hold, attempt=1)
    asked = ask(aurora, session, journal)
    decide(aurora.ben, asked.pk, decision="approve", answer="Oslo")
    again = reclaimed(aurora, Run.unscoped.get())
    assert again.hold.attempt == 2
    Run.unscoped.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert sweep_leases() == 1
    run = Run.unscoped.get()
    assert (run.status, list(run.input)) == ("queued", ["request"])


def test_one_broken_run_does_not_stop_the_sweep(aurora, session):
    claimed_turn(aurora, session)
    late = timezone.now() - timedelta(seconds=9)
    Run.unscoped.update(lease_until=timezone.now() - timedelta(seconds=1))
    Run.unscoped.create(
        workspace_id=aurora.id,
        kind="unheard",
        status="running",
        lease_until=late,
        lost_leases=2,
        in_step=True,
    )
    assert sweep_leases() == 1
    assert Run.unscoped.get(session_id=session.pk).status == "queued"


def test_an_answer_that_comes_before_the_turn_rests_is_not_lost(aurora, session):
    journal = claimed_turn(aurora, session)

    asked = request(
        Actor.for_engine(aurora.id),
        kind="question",
        action="Which city?",
        subject_type="run",
        subject_id=journal.hold.run_id,
        session_id=session.pk,
    )
    decide(aurora.ada, asked.pk, decision="approve", answer="Oslo")
    journal._close(Outcome(Ending.WAITING, approval_id=str(asked.pk)))
    session.refresh_from_db()
    assert (Run.unscoped.get().status, session.status) == ("queued", "running")


def test_a_replaced_message_takes_the_answer_under_way_with_it(aurora, session):
    journal = claimed_turn(aurora, session, "Tell me of dogs")
    first = Message.unscoped.get()
    post_message(aurora.ada, session.pk, content="Of cats", replaces_message_id=first.wire_id)
    journal._record(step(1, 100), Outcome(Ending.CANCELLED, text="Dogs are"))
    assert list(Message.unscoped.values_list("content", flat=True)) == ["Of cats"]


def test_a_step_that_cannot_be_written_leaves_no_promise_behind(aurora, session, monkeypatch):
    journal = claimed_turn(aurora, session)
    journal._begin(Spend(tokens=400))

    def broken(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("apps.runs.journal.publish", broken)
        with pytest.raises(RuntimeError):
            journal._record(step(1, 100), Outcome(Ending.DONE, text="Hi"))
    journal._close(Outcome(Ending.FAILED, code="internal"))
    assert Budget.unscoped.get().reserved_tokens == 0


def test_what_changed_many_sessions_is_read_in_few_queries(aurora, recording_queue, count_queries):
    engine = Actor.for_engine(aurora.id)
    for _ in range(8):
        claimed_turn(aurora, create_session(engine)[0])
    with count_queries(5):  # the rows; their messages, sessions, open runs and open questions
        rows = log_after(aurora.id, 0)
    told = [row.payload["state"] for row in rows if row.name == "session.changed"]
    assert [state["active_run"]["status"] for state in told] == ["running"] * 8
