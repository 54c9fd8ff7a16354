"""From a credential to an actor: every combination, and what each costs."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from apps.core.actor import Actor, Caller, CallerKind, Role, Scope
from apps.core.clock import now
from apps.core.crypto import digest
from apps.core.errors import (
    NotFound,
    ScopeInsufficient,
    TokenExpired,
    TokenMissing,
    TokenRevoked,
    Unauthenticated,
    WorkspaceMismatch,
)
from apps.workspaces import selectors, services, uses
from apps.workspaces.errors import WorkspaceSuspended
from apps.workspaces.models import ApiToken, TokenKind

pytestmark = pytest.mark.django_db


def issued(world, who, scope="admin", where=None):
    at = where.pk if where else None
    return services.issue_token(world.login(who), name="t", scope=scope, workspace_id=at)


def test_a_token_proves_its_user_and_where_it_opens(world):
    row, raw = issued(world, "ada", "write", world.aurora)
    caller = selectors.caller_of_token(raw, request_id="req_1", ip="10.0.0.1")
    assert caller == Caller(
        CallerKind.TOKEN,
        Scope.WRITE,
        world.users["ada"].pk,
        row.pk,
        world.aurora.pk,
        request_id="req_1",
        ip="10.0.0.1",
    )


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE, Scope.ADMIN])
@pytest.mark.parametrize("role", list(Role))
def test_the_effective_scope_is_the_lesser_of_token_and_role(world, scope, role):
    _, raw = issued(world, "ben", scope.word)
    seat = world.aurora.pk, world.users["ben"].pk
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE workspaces_member SET role = %s WHERE workspace_id = %s AND user_id = %s",
            [role.value, *seat],
        )

    actor = selectors.actor_in(selectors.caller_of_token(raw), world.aurora.pk)
    ceiling = {"viewer": Scope.READ, "member": Scope.WRITE}.get(role.value, Scope.ADMIN)
    assert (actor.scope, actor.role) == (min(scope, ceiling), role)


def test_proving_a_token_costs_one_query_and_entering_one_more(world, count_queries):
    _, raw = issued(world, "ada")
    with count_queries(1):
        caller = selectors.caller_of_token(raw)
    with count_queries(1):
        selectors.actor_in(caller, world.aurora.pk)


def test_both_at_once_cost_one_query_wherever_the_token_opens(world, count_queries):
    _, bound = issued(world, "ada", "write", world.aurora)
    _, wide = issued(world, "ada", "write")
    for raw, where in [(bound, None), (bound, world.aurora.pk), (wide, world.aurora.pk)]:
        with count_queries(1):
            caller, actor = selectors.actor_of_token(raw, where)
        assert actor == selectors.actor_in(caller, world.aurora.pk)
    with count_queries(1):
        assert selectors.actor_of_token(wide)[1].workspace_id == world.aurora.pk


def test_a_place_read_with_the_token_saves_entering_its_query(world, count_queries):
    _, bound = issued(world, "ada", "write", world.aurora)
    _, wide = issued(world, "ada", "write")
    for raw, near in [(bound, None), (bound, world.aurora.pk), (wide, world.aurora.pk)]:
        with count_queries(1):
            caller, place = selectors.caller_near(raw, near)
            actor = selectors.actor_in(caller, world.aurora.pk, place)
        assert actor == selectors.actor_in(caller, world.aurora.pk)
    assert selectors.caller_near(wide, None)[1] is None


def test_a_place_opens_no_other_workspace_and_none_the_caller_has_no_seat_in(world):
    _, bound = issued(world, "ada", "write", world.aurora)
    _, wide = issued(world, "ada", "write")
    for near in [world.borealis.pk, world.aurora.pk, uuid4(), None]:
        caller, place = selectors.caller_near(wide, near)
        with pytest.raises(NotFound):
            selectors.actor_in(caller, world.borealis.pk, place)
        caller, place = selectors.caller_near(bound, near)
        with pytest.raises(WorkspaceMismatch):
            selectors.actor_in(caller, world.borealis.pk, place)


def test_finding_a_default_workspace_takes_the_oldest_membership(world, count_queries):
    services.create_workspace(world.login("ada"), name="Dawn", slug="dawn")
    with count_queries(1):
        assert selectors.default_workspace(world.login("ada")) == world.aurora.pk
    bound = selectors.caller_of_token(issued(world, "ada", "read", world.aurora)[1])
    with count_queries(0):
        assert selectors.default_workspace(bound) == world.aurora.pk


def test_a_person_without_any_workspace_has_no_default(world):
    nobody = Caller(CallerKind.LOGIN, Scope.ADMIN, uuid4())
    with pytest.raises(NotFound):
        selectors.default_workspace(nobody)


@pytest.mark.parametrize("raw", ["pmx_" + "a" * 43, "x", "\x00", "ü" * 40, "\ud800", "a" * 5000])
def test_what_is_no_token_is_unauthenticated(world, raw):
    with pytest.raises(Unauthenticated) as refused:
        selectors.caller_of_token(raw)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("raw", ["", None])
def test_no_token_is_said_to_be_missing(world, raw):
    with pytest.raises(TokenMissing):
        selectors.caller_of_token(raw)
    with pytest.raises(TokenMissing):
        selectors.actor_of_token(raw)


def test_a_revoked_token_is_refused_from_the_next_request_on(world):
    row, raw = issued(world, "ada")
    selectors.caller_of_token(raw)
    services.revoke_token(world.login("ada"), row.pk)
    with pytest.raises(TokenRevoked):
        selectors.caller_of_token(raw)
    with pytest.raises(TokenRevoked):
        selectors.actor_of_token(raw, world.aurora.pk)


def test_an_expired_token_is_refused(world):
    row, raw = issued(world, "ada")
    ApiToken.objects.filter(pk=row.pk).update(expires_at=now() - timedelta(seconds=1))
    with pytest.raises(TokenExpired):
        selectors.caller_of_token(raw)


def test_a_closed_accounts_tokens_stop(world):
    _, raw = issued(world, "ada")
    world.users["ada"].is_active = False
    world.users["ada"].save()
    with pytest.raises(Unauthenticated):
        selectors.caller_of_token(raw)


def test_a_demotion_and_a_removal_count_at_once(world):
    caller = selectors.caller_of_token(issued(world, "ben", "write")[1])
    ben = world.users["ben"].pk
    services.change_member(world.actor("ada"), ben, Role.VIEWER)
    assert selectors.actor_in(caller, world.aurora.pk).scope == Scope.READ
    services.remove_member(world.actor("ada"), ben)
    with pytest.raises(NotFound):
        selectors.actor_in(caller, world.aurora.pk)


def test_a_bound_token_says_the_same_of_a_foreign_and_an_absent_workspace(world):
    _, raw = issued(world, "ada", "admin", world.aurora)
    caller = selectors.caller_of_token(raw)
    for place in (world.borealis.pk, uuid4()):
        with pytest.raises(WorkspaceMismatch):
            selectors.actor_in(caller, place)
        with pytest.raises(WorkspaceMismatch):
            selectors.actor_of_token(raw, place)


def test_a_wide_token_says_the_same_of_a_foreign_and_an_absent_workspace(world):
    _, raw = issued(world, "ada")
    caller = selectors.caller_of_token(raw)
    for place in (world.borealis.pk, uuid4()):
        with pytest.raises(NotFound):
            selectors.actor_in(caller, place)
        with pytest.raises(NotFound):
            selectors.actor_of_token(raw, place)


def test_a_superadmin_has_no_way_into_a_workspace_through_a_token(world):
    ada = world.users["ada"]
    ada.role, ada.is_superuser, ada.is_staff = "superadmin", True, True
    ada.save()
    caller = selectors.caller_of_token(issued(world, "ada")[1])
    assert not caller.platform
    with pytest.raises(NotFound):
        selectors.actor_in(caller, world.borealis.pk)


def test_a_suspended_workspace_can_be_read_and_says_why_not_written(world):
    operator = Actor(world.aurora.pk, Scope.ADMIN, CallerKind.OPERATOR, platform=True)
    services.suspend_workspace(operator, reason="unpaid")
    actor = world.actor("ada")

    actor.need(Scope.READ)
    for wanted in (Scope.WRITE, Scope.ADMIN):
        with pytest.raises(WorkspaceSuspended):
            actor.need(wanted)
    with pytest.raises(WorkspaceSuspended):
        actor.with_scope(Scope.READ).need(Scope.WRITE)

    services.resume_workspace(operator, reason="paid")
    world.actor("ada").need(Scope.ADMIN)


def test_a_key_acts_with_its_own_scope_in_its_own_workspace(world):
    for kind, scope in [("admin_key", Scope.ADMIN), ("client_key", Scope.WRITE)]:
        row, raw = services.issue_key(world.actor("ada"), kind=TokenKind(kind), name="app")
        caller = selectors.caller_of_key(raw, kinds={kind})
        assert (caller.kind, caller.user_id) == (CallerKind.KEY, None)
        actor = selectors.actor_in(caller, world.aurora.pk)
        assert (actor.scope, actor.role, actor.token_id) == (scope, None, row.pk)
        with pytest.raises(WorkspaceMismatch):
            selectors.actor_in(caller, world.borealis.pk)


def test_a_key_does_not_open_what_takes_another_kind(world):
    _, client = services.issue_key(world.actor("ada"), kind=TokenKind.CLIENT_KEY, name="app")
    _, personal = issued(world, "ada")
    with pytest.raises(Unauthenticated):
        selectors.caller_of_key(client, kinds={"admin_key"})
    with pytest.raises(Unauthenticated):
        selectors.caller_of_token(client)
    with pytest.raises(Unauthenticated):
        selectors.caller_of_key(personal, kinds={"admin_key", "client_key"})


def test_a_session_token_writes_in_its_session_and_nothing_else(world):
    mine, other = uuid4(), uuid4()
    raw = services.issue_session_token(world.actor("ben"), mine)
    caller, actor = selectors.actor_of_token(raw)

    assert (caller.kind, caller.session_id, actor.scope) == (
        CallerKind.SESSION_TOKEN,
        mine,
        Scope.WRITE,
    )
    selectors.need_session(actor, mine)
    with pytest.raises(ScopeInsufficient):
        selectors.need_session(actor, other)
    with pytest.raises(ScopeInsufficient):
        services.issue_session_token(actor, mine)
    with pytest.raises(ScopeInsufficient):
        services.issue_token(caller, name="t", scope="read")
    with pytest.raises(ScopeInsufficient):
        selectors.list_workspaces(caller)


def test_a_session_token_expires_with_its_session(world):
    session = uuid4()
    raw = services.issue_session_token(world.actor("ben"), session)
    other = services.issue_session_token(world.actor("ben"), uuid4())

    assert services.expire_session_tokens(world.actor("ada"), session) == 1
    with pytest.raises(TokenExpired):
        selectors.caller_of_token(raw)
    selectors.caller_of_token(other)
    assert services.expire_session_tokens(world.actor("ada"), session) == 0


def test_a_session_token_lives_thirty_days_at_most(world):
    raw = services.issue_session_token(world.actor("ben"), uuid4())
    row = ApiToken.objects.get(digest=digest(raw))
    assert timedelta(days=29) < row.expires_at - now() <= timedelta(days=30)


def test_a_signing_keys_secret_opens_for_its_own_row_only(world, count_queries):
    row, secret = services.issue_hmac_key(world.operator(), name="ci")
    assert row.prefix.startswith("MUXI_")
    assert len(row.prefix) == 5 + 16
    assert secret.startswith("sk_")
    assert len(secret) == 3 + 64
    with count_queries(1):
        found, opened = selectors.hmac_key(row.prefix)
    assert (found.pk, opened) == (row.pk, secret.encode())

    twin, _ = services.issue_hmac_key(world.operator(), name="cd")
    ApiToken.objects.filter(pk=twin.pk).update(sealed_secret=found.sealed_secret)
    with pytest.raises(Unauthenticated):
        selectors.hmac_key(twin.prefix)


def test_a_signing_key_unknown_or_revoked_is_refused(world):
    row, _ = services.issue_hmac_key(world.operator(), name="ci")
    with pytest.raises(Unauthenticated):
        selectors.hmac_key("MUXI_0000000000000000")
    services.revoke_key(world.actor("ada"), row.pk)
    with pytest.raises(TokenRevoked):
        selectors.hmac_key(row.prefix)


def test_a_removed_workspace_is_absent_and_its_tokens_are_dead(world):
    services.create_workspace(world.login("ada"), name="Dawn", slug="dawn")
    _, bound = issued(world, "ada", "read", world.aurora)
    wide = selectors.caller_of_token(issued(world, "ada")[1])
    services.delete_workspace(world.actor("ada"))

    with pytest.raises(TokenRevoked):
        selectors.caller_of_token(bound)
    with pytest.raises(NotFound):
        selectors.actor_in(wide, world.aurora.pk)


def test_the_use_of_a_token_is_noted_once_a_minute_and_not_in_the_request(world, monkeypatch):
    noted = []
    monkeypatch.setattr(uses, "db_executor", lambda: Noting(noted))
    uses._noted.clear()
    row, raw = issued(world, "ada")

    for _ in range(3):
        selectors.caller_of_token(raw)
    assert noted == [row.pk]

    uses._noted.clear()
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=now())
    selectors.caller_of_token(raw)
    assert noted == [row.pk]  # another process noted it a moment ago


class Noting:
    """An executor that only writes down what it was asked."""

    def __init__(self, noted):
        self.noted = noted

    def submit(self, work, token_id):
        self.noted.append(token_id)


@pytest.mark.django_db(transaction=True)
def test_the_noted_use_arrives_in_the_database():
    from tests.workspaces.conftest import build_world

    uses._noted.clear()
    row, raw = issued(build_world(), "ada")
    selectors.caller_of_token(raw)
    for _ in range(100):
        row.refresh_from_db()
        if row.last_used_at is not None:
            break
        time.sleep(0.05)
    assert row.last_used_at is not None
