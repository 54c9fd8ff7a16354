"""Secrets that are looked at before they change; and an audit view that begins anew."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from apps.accounts.models import AuditEntry
from apps.accounts.selectors import list_audit, list_audit_view
from apps.accounts.services import clear_audit_view
from apps.core.errors import InvalidInput, ScopeInsufficient
from apps.events.models import Event
from apps.workspaces import keeping
from apps.workspaces.errors import SecretExists, SecretInUse, SecretNotFound
from apps.workspaces.services import (
    create_secret,
    delete_secret,
    merge_secrets,
    put_secret,
    set_secret,
)
from apps.workspaces.vault import opened_secrets


def values(actor):
    return opened_secrets(actor.workspace_id)


@pytest.mark.django_db
def test_a_secret_is_made_once_whatever_the_case_of_its_name(aurora):
    create_secret(aurora.ada, "STRIPE_KEY", "one")
    with pytest.raises(SecretExists):
        create_secret(aurora.ada, "stripe_key", "two")
    assert values(aurora.ada) == {"STRIPE_KEY": "one"}
    _, new = set_secret(aurora.ada, "STRIPE_KEY", "three")
    assert (new, values(aurora.ada)) == (False, {"STRIPE_KEY": "three"})


@pytest.mark.django_db
def test_only_admins_open_the_vault(aurora):
    create_secret(aurora.ada, "STRIPE_KEY", "one")
    for verb in (create_secret, set_secret):
        with pytest.raises(ScopeInsufficient):
            verb(aurora.ben, "OTHER", "two")
    with pytest.raises(ScopeInsufficient):
        delete_secret(aurora.ben, "STRIPE_KEY")
    assert values(aurora.ada) == {"STRIPE_KEY": "one"}


@pytest.mark.django_db
def test_a_secret_stays_while_somebody_needs_it(aurora, monkeypatch):
    needed = {"STRIPE_KEY"}
    monkeypatch.setattr(keeping, "_questions", {"test": lambda _, name: name in needed})
    create_secret(aurora.ada, "STRIPE_KEY", "one")
    with pytest.raises(SecretInUse):
        delete_secret(aurora.ada, "stripe_key")
    needed.clear()
    delete_secret(aurora.ada, "stripe_key")
    with pytest.raises(SecretNotFound):
        delete_secret(aurora.ada, "STRIPE_KEY")


@pytest.mark.django_db
def test_secrets_are_merged_and_what_is_not_named_stays(aurora):
    for name in ("SAME", "OTHER", "MINE"):
        create_secret(aurora.ada, name, "one")
    merged = merge_secrets(aurora.ada, {"SAME": "one", "OTHER": "two", "NEW": "three"})
    assert (merged.added, merged.overwritten, merged.preserved) == (("NEW",), ("OTHER",), ("MINE",))
    assert values(aurora.ada) == {"SAME": "one", "OTHER": "two", "MINE": "one", "NEW": "three"}
    with pytest.raises(InvalidInput):
        merge_secrets(aurora.ada, {"GOOD": "four", "not a name": "five"})
    assert "GOOD" not in values(aurora.ada)


@pytest.mark.django_db
def test_no_record_and_no_fact_says_a_secret(aurora):
    create_secret(aurora.ada, "STRIPE_KEY", "hunter2hunter2")
    set_secret(aurora.ada, "STRIPE_KEY", "hunter2hunter3")
    delete_secret(aurora.ada, "STRIPE_KEY")
    here = {"workspace_id": aurora.id}
    told = [*AuditEntry.objects.filter(**here).values(), *Event.objects.filter(**here).values()]
    assert "STRIPE_KEY" in str(told)
    assert "hunter2" not in str(told)


@pytest.mark.django_db
def test_a_cleared_view_shows_what_came_after_and_the_record_keeps_all(aurora, borealis):
    create_secret(aurora.ada, "STRIPE_KEY", "one")
    before, elsewhere = list_audit(aurora.ada).count(), list_audit_view(borealis.mallory).count()
    assert clear_audit_view(aurora.ada) == before
    assert clear_audit_view(aurora.ada) == 1
    assert [entry.action for entry in list_audit_view(aurora.ada)] == ["audit.cleared"]
    delete_secret(aurora.ada, "STRIPE_KEY")
    assert list_audit_view(aurora.ada).count() == 2
    assert list_audit(aurora.ada).count() == before + 3
    assert list_audit_view(borealis.mallory).count() == elsewhere


@pytest.mark.django_db(transaction=True)
def test_of_many_who_make_a_secret_one_does(aurora, race):
    outcome = race(create_secret, aurora.ada, "STRIPE_KEY", "one", runners=8)
    assert outcome.winners == 1
    assert set(outcome.errors) == {SecretExists}


@pytest.mark.django_db(transaction=True)
def test_the_race_for_a_secret_is_real(aurora, race):
    """Control: without the lock around the look, several believe to have made it, or run into the row."""
    outcome = race(put_secret, aurora.ada, "STRIPE_KEY", "one", runners=8)
    assert outcome.winners > 1 or set(outcome.errors) == {IntegrityError}
