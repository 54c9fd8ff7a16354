"""What two may want at once, each race with the control that proves it real."""

from __future__ import annotations

import threading

import pytest

from apps.accounts import throttle
from apps.accounts.errors import EmailTaken, LoginThrottled
from apps.accounts.models import AuditEntry, LoginAttempt, User
from apps.accounts.selectors import system_caller
from apps.accounts.services import create_operator, create_user
from apps.core.actor import Role
from apps.core.errors import Conflict
from apps.workspaces import services
from apps.workspaces.errors import LastOwner, LastWorkspace, SlugTaken
from apps.workspaces.models import ApiToken, Member, Workspace
from tests.support.race import race_each
from tests.workspaces.conftest import build_world

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db):
    return build_world()


@pytest.fixture
def owners(world):
    """Ada and Ben own Aurora; each wants the other to be an admin."""
    ada, ben = world.users["ada"].pk, world.users["ben"].pk
    services.change_member(world.actor("ada"), ben, Role.OWNER)
    return [(world.actor("ada"), ben), (world.actor("ben"), ada)]


def owners_of(workspace):
    return Member.objects.in_workspace(workspace.pk).filter(role=Role.OWNER).count()


def test_of_two_demotions_at_once_one_leaves_an_owner(world, owners):
    calls = [(services.change_member, (actor, user, Role.ADMIN), {}) for actor, user in owners]
    outcome = race_each(calls)
    assert outcome.winners == 1
    assert outcome.errors == [LastOwner]
    assert owners_of(world.aurora) == 1


def demote_without_guard(workspace, user, meeting):
    seats = Member.objects.in_workspace(workspace.pk)
    if not seats.filter(role=Role.OWNER).exclude(user_id=user).exists():
        raise LastOwner
    meeting.wait()
    seats.filter(user_id=user).update(role=Role.ADMIN)


def test_the_race_of_the_demotions_is_real(world, owners):
    """Control: look-then-write leaves Aurora without an owner."""
    meeting = threading.Barrier(2, timeout=10)
    race_each([(demote_without_guard, (world.aurora, user, meeting), {}) for _, user in owners])
    assert owners_of(world.aurora) == 0


@pytest.fixture
def two_homes(world):
    dawn = services.create_workspace(world.login("mallory"), name="Dawn", slug="dawn")
    return [world.actor("mallory", world.borealis), world.actor("mallory", dawn)]


def homes(world):
    seats = world.users["mallory"].memberships
    return seats.exclude(workspace__status="removed").count()


def test_of_two_last_workspaces_removed_at_once_one_stays(world, two_homes):
    outcome = race_each([(services.delete_workspace, (actor,), {}) for actor in two_homes])
    assert outcome.winners == 1
    assert outcome.errors == [LastWorkspace]
    assert homes(world) == 1


def remove_without_guard(world, actor, meeting):
    if homes(world) < 2:
        raise LastWorkspace
    meeting.wait()
    Workspace.objects.filter(pk=actor.workspace_id).update(status="removed")


def test_the_race_of_the_removals_is_real(world, two_homes):
    """Control: count-then-write leaves Mallory without any workspace."""
    meeting = threading.Barrier(2, timeout=10)
    race_each([(remove_without_guard, (world, actor, meeting), {}) for actor in two_homes])
    assert homes(world) == 0


def test_a_slug_wanted_by_many_goes_to_one(world, race):
    create = services.create_workspace
    outcome = race(create, world.login("ben"), name="Dawn", slug="dawn", runners=6)
    assert outcome.winners == 1
    assert set(outcome.errors) == {SlugTaken}
    assert Workspace.objects.filter(slug="dawn").count() == 1


def test_a_token_revoked_by_many_is_recorded_once(world, race):
    row, _ = services.issue_token(world.login("ada"), name="t", scope="read")
    outcome = race(services.revoke_token, world.login("ada"), row.pk, runners=6)
    assert outcome.winners == 6
    assert AuditEntry.objects.filter(action="token.revoked").count() == 1


def revoke_without_guard(token_id, meeting):
    if ApiToken.objects.get(pk=token_id).revoked_at is None:
        meeting.wait()
        AuditEntry.objects.create(actor_kind="token", action="token.revoked", subject_type="token")


def test_the_race_of_the_revocations_is_real(world, race):
    """Control: look-then-record writes the change down twice."""
    row, _ = services.issue_token(world.login("ada"), name="t", scope="read")
    race(revoke_without_guard, row.pk, threading.Barrier(2, timeout=10), runners=2)
    assert AuditEntry.objects.filter(action="token.revoked").count() == 2


def test_two_first_runs_make_one_operator(race):
    def first_run():
        return create_operator(f"root{threading.get_ident()}@example.org", "correct horse battery")

    outcome = race(first_run, runners=4)
    assert outcome.winners == 1
    assert set(outcome.errors) == {Conflict}


def test_one_person_is_made_once(race):
    outcome = race(create_user, system_caller(), "ada@example.org", runners=4)
    assert outcome.winners == 1
    assert set(outcome.errors) == {EmailTaken}
    assert User.objects.count() == 1


def test_guesses_made_at_once_are_all_counted(race):
    outcomes = [race(throttle.count_login, "ada@example.org", "192.0.2.1", runners=8) for _ in "ab"]
    refused = [error for outcome in outcomes for error in outcome.errors]
    assert refused == [LoginThrottled] * (16 - throttle.PER_ACCOUNT)
    assert LoginAttempt.objects.get(key__startswith="account:").tries == 16
