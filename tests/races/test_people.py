"""Last owners, single decisions, counted windows, claimed keys: what many want at once."""

from __future__ import annotations

import threading

import pytest

from apps.approvals.errors import AlreadyDecided
from apps.approvals.models import ApprovalStatus
from apps.approvals.selectors import get_approval
from apps.approvals.services import decide, request, use
from apps.core.actor import Actor, Role
from apps.core.errors import IdempotencyConflict
from apps.surfaces import idempotency
from apps.surfaces.ratewindow import MemoryStore, PostgresStore
from apps.workspaces.credentials import actor_in
from apps.workspaces.errors import LastOwner
from apps.workspaces.models import Member
from apps.workspaces.services import change_member, remove_member
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two_owners(aurora):
    """Ada and Ben both own Aurora."""
    change_member(aurora.ada, aurora.ben_user.pk, Role.OWNER)
    ben = actor_in(aurora.ben_caller, aurora.id)
    return [(aurora.ada, aurora.ada_user.pk), (ben, aurora.ben_user.pk)]


def owners(workspace_id):
    return Member.objects.in_workspace(workspace_id).filter(role=Role.OWNER).count()


def test_one_of_two_leaving_owners_stays(aurora, two_owners):
    outcome = race_each([(remove_member, (actor, user), {}) for actor, user in two_owners])
    assert outcome.winners == 1
    assert outcome.errors == [LastOwner]
    assert owners(aurora.id) == 1


def leave_without_guard(workspace_id, user_id, meeting):
    if owners(workspace_id) < 2:
        raise LastOwner
    meeting.wait()
    Member.objects.in_workspace(workspace_id).filter(user_id=user_id).delete()


def test_the_race_of_the_owners_is_real(aurora, two_owners):
    """Control: count-then-delete leaves Aurora without an owner."""
    meeting = threading.Barrier(2, timeout=10)
    race_each([(leave_without_guard, (aurora.id, user, meeting), {}) for _, user in two_owners])
    assert owners(aurora.id) == 0


@pytest.fixture
def question(aurora):
    return request(Actor.for_engine(aurora.id), action="Send the mail?", binding="f" * 64)


def decide_without_guard(actor, approval_id, meeting):
    approval = get_approval(actor, approval_id)
    if approval.status != ApprovalStatus.PENDING:
        raise AlreadyDecided
    meeting.wait()
    approval.status = ApprovalStatus.APPROVED
    approval.save(update_fields=["status"])


def test_a_request_is_decided_once(race, aurora, question):
    outcome = race(decide, aurora.ada, question.pk, decision="approve", runners=10)
    assert outcome.winners == 1
    assert set(outcome.errors) == {AlreadyDecided}


def test_the_race_of_the_deciders_is_real(race, aurora, question):
    """Control: read-then-save decides twice."""
    meeting = threading.Barrier(2, timeout=10)
    assert race(decide_without_guard, aurora.ada, question.pk, meeting, runners=2).winners == 2


def test_a_permission_is_spent_once(race, aurora, question):
    decide(aurora.ada, question.pk, decision="approve")
    outcome = race(use, aurora.ada, question.pk, runners=10)
    assert sorted(outcome.results) == [False] * 9 + [True]


def hit(store, key):
    return store.add(key, 60, 60, 1)


@pytest.mark.parametrize("make", [MemoryStore, PostgresStore])
def test_every_hit_on_a_window_is_counted(race, make):
    store = make()
    counts = [n for _ in range(5) for n in race(hit, store, "token", runners=8).results]
    assert sorted(counts) == list(range(1, 41))


def test_a_window_counted_by_look_and_add_loses_hits(race):
    """Control: the same race, with a look before the write."""
    counts = {"token": 0}
    meeting = threading.Barrier(8, timeout=10)

    def look_and_add():
        seen = counts["token"]
        meeting.wait()
        counts["token"] = seen + 1

    race(look_and_add, runners=8)
    assert counts["token"] < 8


def claim_key(mark):
    found = idempotency.claim("polymux:token", "key-1", mark)
    assert isinstance(found, idempotency.Claim)
    return found


def test_one_request_carries_out_an_idempotent_operation(race):
    outcome = race(claim_key, "same body", runners=10)
    assert outcome.winners == 1
    assert set(outcome.errors) == {IdempotencyConflict}


def claim_key_without_guard(seen, meeting):
    if "key-1" in seen:
        raise IdempotencyConflict
    meeting.wait()
    seen.add("key-1")


def test_the_race_for_a_key_is_real(race):
    """Control: look-then-insert carries the operation out twice."""
    assert (
        race(claim_key_without_guard, set(), threading.Barrier(2, timeout=10), runners=2).winners
        == 2
    )
