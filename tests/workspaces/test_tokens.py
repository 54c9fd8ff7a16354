from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connection, transaction

from apps.accounts.errors import OperatorsOnly
from apps.accounts.models import AuditEntry
from apps.core import announce
from apps.core.actor import Actor, CallerKind, Scope
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient, WorkspaceMismatch
from apps.workspaces import selectors, services
from apps.workspaces.errors import TokenLimitReached
from apps.workspaces.models import ApiToken, TokenKind
from apps.workspaces.services import tokens as token_services

pytestmark = pytest.mark.django_db


@pytest.fixture
def cut(monkeypatch):
    heard = []
    monkeypatch.setattr(announce, "_revoker", lambda **whom: heard.append(whom))
    return heard


def test_the_raw_token_is_nowhere_in_the_database(world):
    raws = [
        world.token("ada"),
        services.issue_key(world.actor("ada"), kind=TokenKind.ADMIN_KEY, name="k")[1],
        services.issue_hmac_key(world.operator(), name="h")[1],
        services.issue_session_token(world.actor("ada"), uuid4()),
    ]
    with connection.cursor() as cursor:
        for table in ("workspaces_apitoken", "accounts_auditentry", "events_event"):
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t")
            dump = cursor.fetchone()[0]
            for raw in raws:
                assert raw not in dump
                assert raw.encode().hex() not in dump


def test_a_token_shows_how_it_begins_and_no_more(world):
    row, raw = services.issue_token(world.login("ada"), name="laptop", scope="read")
    assert raw.startswith(row.prefix)
    assert row.prefix.startswith("pmx_")
    assert len(row.prefix) <= 12
    assert len(raw) > 40


@pytest.mark.parametrize(
    ("who", "scope", "allowed"),
    [
        ("ada", "admin", True),
        ("ben", "write", True),
        ("ben", "admin", False),
        ("cleo", "read", True),
        ("cleo", "write", False),
    ],
)
def test_a_bound_token_reaches_no_further_than_its_users_role(world, who, scope, allowed):
    def issue():
        return services.issue_token(
            world.login(who), name="t", scope=scope, workspace_id=world.aurora.pk
        )

    if allowed:
        assert issue()[0].scope == scope
    else:
        with pytest.raises(ScopeInsufficient):
            issue()


def test_a_token_is_bound_only_to_a_workspace_of_its_user(world):
    for place in (world.borealis.pk, uuid4()):
        with pytest.raises(NotFound):
            services.issue_token(world.login("ada"), name="t", scope="read", workspace_id=place)


def test_only_an_admin_credential_issues_tokens_and_none_that_reaches_further(world):
    writer = selectors.caller_of_token(world.token("ada", "write"))
    bound = selectors.caller_of_token(world.token("ada", "admin", world.aurora))
    with pytest.raises(ScopeInsufficient):
        services.issue_token(writer, name="t", scope="read")
    with pytest.raises(WorkspaceMismatch):
        services.issue_token(bound, name="t", scope="read")
    with pytest.raises(WorkspaceMismatch):
        services.issue_token(bound, name="t", scope="read", workspace_id=world.borealis.pk)
    services.issue_token(bound, name="t", scope="admin", workspace_id=world.aurora.pk)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\x00"),
        ("scope", "root"),
        ("scope", None),
        ("purpose", "x" * 501),
    ],
)
def test_wrong_fields_are_named_and_nothing_is_issued(world, field, value):
    with pytest.raises(InvalidInput) as refused:
        services.issue_token(world.login("ada"), **{"name": "t", "scope": "read", field: value})
    assert list(refused.value.details["fields"]) == [field]
    assert not ApiToken.objects.exists()


def test_one_person_has_so_many_tokens_and_no_more(world, monkeypatch):
    monkeypatch.setattr(token_services, "MAX_LIVE_TOKENS", 2)
    first, _ = services.issue_token(world.login("ada"), name="1", scope="read")
    services.issue_token(world.login("ada"), name="2", scope="read")
    with pytest.raises(TokenLimitReached):
        services.issue_token(world.login("ada"), name="3", scope="read")
    services.revoke_token(world.login("ada"), first.pk)
    services.issue_token(world.login("ada"), name="3", scope="read")


def test_revoking_twice_is_revoking_once(world, cut):
    row, _ = services.issue_token(world.login("ada"), name="t", scope="read")
    services.revoke_token(world.login("ada"), row.pk, reason="lost laptop")
    row.refresh_from_db()
    first = row.revoked_at
    services.revoke_token(world.login("ada"), row.pk)

    row.refresh_from_db()
    assert row.revoked_at == first
    assert AuditEntry.objects.get(action="token.revoked").reason == "lost laptop"
    assert cut == [{"token_id": row.pk, "user_id": None, "workspace_id": None}]


def test_anothers_token_and_an_absent_one_are_the_same(world):
    row, _ = services.issue_token(world.login("mallory"), name="t", scope="read")
    for token_id in (row.pk, uuid4()):
        with pytest.raises(NotFound):
            services.revoke_token(world.login("ada"), token_id)
        with pytest.raises(NotFound):
            selectors.get_token(world.login("ada"), token_id)
    row.refresh_from_db()
    assert row.revoked_at is None


def test_a_bound_token_does_not_touch_tokens_of_elsewhere(world):
    bound = selectors.caller_of_token(world.token("ada", "admin", world.aurora))
    wide, _ = services.issue_token(world.login("ada"), name="wide", scope="admin")
    with pytest.raises(NotFound):
        services.revoke_token(bound, wide.pk)
    assert [row.workspace_id for row in selectors.list_tokens(bound)] == [world.aurora.pk]


def test_an_operator_revokes_anybodys_token(world):
    row, raw = services.issue_token(world.login("ada"), name="t", scope="read")
    operator = Actor(world.aurora.pk, Scope.ADMIN, CallerKind.OPERATOR, platform=True)
    key, _ = services.issue_key(world.actor("ada"), kind=TokenKind.CLIENT_KEY, name="k")
    services.revoke_token(operator, key.pk, reason="leaked")
    with pytest.raises(NotFound):
        services.revoke_token(operator, row.pk)  # account-wide: not of this workspace
    assert selectors.caller_of_token(raw)


def test_the_list_shows_live_personal_tokens_newest_first(world):
    first, _ = services.issue_token(world.login("ada"), name="1", scope="read")
    second, _ = services.issue_token(world.login("ada"), name="2", scope="read")
    gone, _ = services.issue_token(world.login("ada"), name="3", scope="read")
    services.revoke_token(world.login("ada"), gone.pk)
    services.issue_session_token(world.actor("ada"), uuid4())
    services.issue_key(world.actor("ada"), kind=TokenKind.ADMIN_KEY, name="k")

    assert list(selectors.list_tokens(world.login("ada"))) == [second, first]
    assert {k.kind for k in selectors.list_keys(world.actor("ada"))} == {"admin_key"}


def test_every_issue_is_recorded_and_none_that_was_rolled_back(world):
    with transaction.atomic():
        services.issue_token(world.login("ada"), name="t", scope="read")
        transaction.set_rollback(True)
    assert not AuditEntry.objects.filter(action="token.issued").exists()
    row, _ = services.issue_token(world.login("ada"), name="t", scope="read")
    entry = AuditEntry.objects.get(action="token.issued")
    assert (entry.subject_id, entry.after["scope"]) == (str(row.pk), "read")


def test_limits_are_the_installations_until_an_operator_sets_others(world):
    row, _ = services.issue_token(world.login("ada"), name="t", scope="read")
    assert selectors.token_limits(row.pk) == selectors.TokenLimits(60, 30, 10)
    operator = Actor(world.aurora.pk, Scope.ADMIN, CallerKind.OPERATOR, platform=True)
    services.set_token_limits(
        operator, row.pk, read_per_min=600, write_per_min=None, max_sessions=50, reason="asked"
    )
    assert selectors.token_limits(row.pk) == selectors.TokenLimits(600, 30, 50)


def test_only_operators_make_signing_keys(world):
    """Whoever signs deploys bundles, and a bundle may run programs here."""
    with pytest.raises(OperatorsOnly):
        services.issue_hmac_key(world.actor("ada"), name="ci")
    row, _ = services.issue_hmac_key(world.operator(), name="ci")
    signer = replace(world.actor("ada"), kind=CallerKind.KEY, user_id=None, token_id=row.pk)
    assert selectors.may_run_programs(signer)
    services.revoke_key(world.actor("ada"), row.pk)
    assert not selectors.may_run_programs(signer)
    assert not selectors.may_run_programs(world.actor("ada"))
