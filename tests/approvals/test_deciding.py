"""Deciding: once, in time, never by the one who asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.accounts.models import AuditEntry
from apps.approvals import selectors, services, sweeper
from apps.approvals.errors import AlreadyDecided, ApprovalOverdue, NotTheRequester, SelfApproval
from apps.approvals.models import Approval
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Forbidden, InvalidInput, NotFound, ScopeInsufficient
from apps.core.ids import uuid7
from apps.events.models import Event


@pytest.fixture
def engine(aurora):
    return Actor.for_engine(aurora.id)


@pytest.fixture
def asked(engine):
    return services.request(
        engine, action="Deploy to production", subject_type="run", subject_id=uuid7()
    )


def facts(workspace_id):
    rows = Event.objects.filter(workspace_id=workspace_id).order_by("seq")
    return [row.name for row in rows]


def overdue(approval):
    Approval.unscoped.filter(id=approval.id).update(expires_at=now() - timedelta(seconds=1))


def test_a_member_approves_what_the_engine_asks(aurora, asked):
    decided = services.decide(aurora.ben, asked.id, decision="approve", note="Go.")
    assert (decided.status, decided.note, decided.decided_by_id) == (
        "approved",
        "Go.",
        aurora.ben.user_id,
    )


def test_a_rejection_is_a_denial(aurora, asked):
    assert services.decide(aurora.ada, asked.id, decision="reject").status == "denied"


def test_a_second_decision_is_refused(aurora, asked):
    services.decide(aurora.ben, asked.id, decision="reject")
    with pytest.raises(AlreadyDecided) as refused:
        services.decide(aurora.ada, asked.id, decision="approve")
    assert refused.value.details == {"status": "denied"}
    assert selectors.get_approval(aurora.ada, asked.id).status == "denied"


def test_who_asks_may_not_decide(aurora):
    asked = services.request(aurora.ben, action="Spend")
    with pytest.raises(SelfApproval):
        services.decide(aurora.ben, asked.id, decision="approve")
    assert services.decide(aurora.ada, asked.id, decision="approve").status == "approved"


def test_the_token_that_asks_may_not_decide(aurora):
    key = Actor(aurora.id, aurora.ben.scope, aurora.ben.kind, token_id=uuid7())
    asked = services.request(key, action="Spend")
    with pytest.raises(SelfApproval):
        services.decide(key, asked.id, decision="approve")


def test_the_engine_may_not_decide(engine, asked):
    with pytest.raises(Forbidden):
        services.decide(engine, asked.id, decision="approve")


def test_a_viewer_may_not_decide(aurora, asked):
    with pytest.raises(ScopeInsufficient):
        services.decide(aurora.cleo, asked.id, decision="approve")


def test_an_overdue_request_cannot_be_decided(aurora, asked):
    overdue(asked)
    with pytest.raises(ApprovalOverdue):
        services.decide(aurora.ada, asked.id, decision="approve")


def test_the_sweep_expires_what_is_overdue_and_nothing_else(aurora, engine, asked):
    fresh = services.request(engine, action="Later")
    overdue(asked)
    assert sweeper.expire_overdue() == 1
    assert selectors.get_approval(aurora.ada, asked.id).status == "expired"
    assert selectors.get_approval(aurora.ada, fresh.id).status == "pending"
    assert facts(aurora.id)[-1] == "approval.expired"


def test_the_sweep_is_bounded(engine):
    for number in range(3):
        overdue(services.request(engine, action=f"Number {number}"))
    assert sweeper.expire_overdue(limit=2) == 2
    assert sweeper.expire_overdue(limit=2) == 1


def test_a_question_needs_an_answer(aurora, engine):
    asked = services.request(engine, kind="question", action="Which colour?")
    with pytest.raises(InvalidInput):
        services.decide(aurora.ada, asked.id, decision="approve")
    answered = services.decide(aurora.ada, asked.id, decision="approve", answer="blue")
    assert (answered.status, answered.answer) == ("answered", "blue")


def test_the_requester_withdraws(aurora):
    asked = services.request(aurora.ben, action="Spend")
    assert services.withdraw(aurora.ben, asked.id).status == "withdrawn"
    with pytest.raises(AlreadyDecided):
        services.decide(aurora.ada, asked.id, decision="approve")


def test_another_member_may_not_withdraw(aurora):
    asked = services.request(aurora.ada, action="Spend")
    with pytest.raises(NotTheRequester):
        services.withdraw(aurora.ben, asked.id)


def test_a_permission_is_used_once(aurora, engine, asked):
    assert not services.use(engine, asked.id)
    services.decide(aurora.ada, asked.id, decision="approve")
    assert services.use(engine, asked.id)
    assert not services.use(engine, asked.id)


def test_a_permission_grows_stale(aurora, engine, asked):
    services.decide(aurora.ada, asked.id, decision="approve")
    overdue(asked)
    assert not services.use(engine, asked.id)


def test_the_facts_name_the_run_and_the_audit_the_decider(aurora, asked):
    services.decide(aurora.ben, asked.id, decision="approve")
    assert facts(aurora.id)[-2:] == ["approval.requested", "approval.decided"]
    told = Event.objects.filter(workspace_id=aurora.id).last()
    assert told.payload["run_id"] == str(asked.subject_id)
    entry = AuditEntry.objects.get(action="approval.approved")
    assert (entry.user_id, entry.subject_id) == (aurora.ben.user_id, str(asked.id))


def test_a_request_is_bounded(engine):
    for bad in (
        {"action": ""},
        {"action": "x" * 4_001},
        {"action": "x", "options": ["y"] * 21},
        {"action": "x", "context": {"y": "z" * 70_000}},
        {"action": "x", "kind": "bribe"},
        {"action": "x", "expires_in": float("nan")},
    ):
        with pytest.raises(InvalidInput):
            services.request(engine, **bad)


def test_a_stranger_finds_nothing(aurora, borealis, asked):
    for touch in (
        lambda: selectors.get_approval(borealis.mallory, asked.id),
        lambda: services.decide(borealis.mallory, asked.id, decision="approve"),
        lambda: services.withdraw(borealis.mallory, asked.id),
    ):
        with pytest.raises(NotFound):
            touch()
    assert not services.use(borealis.mallory, asked.id)
    assert not selectors.list_approvals(borealis.mallory).exists()


@pytest.mark.django_db(transaction=True)
def test_of_twelve_deciders_one_decides(race, aurora):
    engine = Actor.for_engine(aurora.id)
    asked = services.request(engine, action="Once")
    outcome = race(services.decide, aurora.ada, asked.id, decision="approve", runners=12)
    assert outcome.winners == 1
    assert outcome.errors == [AlreadyDecided] * 11
    assert facts(aurora.id).count("approval.decided") == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_conditional_update_many_would_decide(race, aurora):
    """The control: the same race with read-then-write."""
    import time

    asked = services.request(Actor.for_engine(aurora.id), action="Once")

    def decide_naively():
        approval = Approval.unscoped.get(id=asked.id)
        if approval.status != "pending":
            raise AlreadyDecided
        time.sleep(0.05)
        approval.status = "approved"
        approval.save()

    assert race(decide_naively, runners=12).winners > 1


@pytest.mark.django_db(transaction=True)
def test_of_twelve_uses_one_counts(race, aurora):
    engine = Actor.for_engine(aurora.id)
    asked = services.request(engine, action="Once")
    services.decide(aurora.ada, asked.id, decision="approve")
    assert race(services.use, engine, asked.id, runners=12).results.count(True) == 1


@pytest.mark.django_db(transaction=True)
def test_twelve_askers_for_one_call_make_one_request(race, aurora):
    engine = Actor.for_engine(aurora.id)
    outcome = race(services.request, engine, action="Once", binding="b" * 64, runners=12)
    assert len({approval.id for approval in outcome.results}) == 1
    assert Approval.unscoped.count() == 1
