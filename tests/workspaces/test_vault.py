"""The vault: secrets sealed at rest, opened for whoever uses them, shown to nobody."""

from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import Conflict, InvalidInput, NotFound, ScopeInsufficient
from apps.workspaces import services, vault
from apps.workspaces.models import Secret

pytestmark = pytest.mark.django_db


def test_a_secret_is_kept_replaced_and_forgotten(world, count_queries):
    ada = world.actor("ada")
    services.put_secret(ada, "TOKEN", "one")
    services.put_secret(ada, "token", "two")
    services.put_secret(ada, "OTHER", "three")
    with count_queries(1):
        assert vault.opened_secrets(ada.workspace_id) == {"OTHER": "three", "token": "two"}
    assert vault.opened_secrets(ada.workspace_id, {"OTHER"}) == {"OTHER": "three"}
    services.remove_secret(ada, "TOKEN")
    with pytest.raises(NotFound):
        services.remove_secret(ada, "TOKEN")
    assert [row.name for row in Secret.objects.in_workspace(ada.workspace_id)] == ["OTHER"]


def test_a_value_is_in_no_record_and_opens_in_its_own_row_only(world):
    ada = world.actor("ada")
    row = services.put_secret(ada, "TOKEN", "hush-hush")
    other = services.put_secret(ada, "OTHER", "x")
    assert b"hush-hush" not in bytes(row.sealed)
    assert "hush-hush" not in str(list(AuditEntry.objects.values("before", "after")))
    Secret.objects.in_workspace(ada.workspace_id).filter(pk=other.pk).update(sealed=row.sealed)
    assert vault.opened_secrets(ada.workspace_id) == {"TOKEN": "hush-hush"}


def test_secrets_are_for_admins_and_have_bounds(world, monkeypatch):
    with pytest.raises(ScopeInsufficient):
        services.put_secret(world.actor("ben"), "TOKEN", "x")
    ada = world.actor("ada")
    for name, value in (("", "x"), ("a b", "x"), ("OK", "x" * 70_000), ("OK", "\x00")):
        with pytest.raises(InvalidInput):
            services.put_secret(ada, name, value)
    monkeypatch.setattr("apps.workspaces.services.vault.MOST_SECRETS", 1)
    services.put_secret(ada, "ONE", "x")
    with pytest.raises(Conflict):
        services.put_secret(ada, "TWO", "x")
