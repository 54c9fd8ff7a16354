from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import transaction

from apps.accounts.audit import record_change
from apps.accounts.models import AuditEntry
from apps.accounts.selectors import list_audit, list_platform_audit, system_caller
from apps.core.actor import Actor, CallerKind, Scope
from apps.core.errors import ScopeInsufficient
from apps.core.redact import HIDDEN

ACTOR = Actor(
    uuid4(), Scope.ADMIN, CallerKind.TOKEN, user_id=uuid4(), request_id="req_1", ip="10.1.2.3"
)


@pytest.mark.django_db
def test_an_entry_says_who_did_what_where_and_in_which_request():
    subject = uuid4()
    record_change(ACTOR, "thing.changed", "thing", subject, before={"a": 1}, after={"a": 2})

    entry = AuditEntry.objects.get()
    assert (entry.workspace_id, entry.user_id) == (ACTOR.workspace_id, ACTOR.user_id)
    assert (entry.action, entry.subject_type, entry.subject_id) == (
        "thing.changed",
        "thing",
        str(subject),
    )
    assert (entry.before, entry.after) == ({"a": 1}, {"a": 2})
    assert (entry.request_id, entry.ip, entry.actor_kind) == ("req_1", "10.1.2.3", "token")


@pytest.mark.django_db
def test_a_rolled_back_change_leaves_no_entry():
    with transaction.atomic():
        record_change(ACTOR, "thing.changed", "thing", "1")
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_an_entry_is_written_without_secrets_and_as_json():
    which = uuid4()
    after = {"deep": [{"api_key": "hunter2"}], "token_budget": 500, "id": which}
    record_change(ACTOR, "thing.changed", "thing", "1", after=after)

    kept = {"deep": [{"api_key": HIDDEN}], "token_budget": 500, "id": str(which)}
    assert AuditEntry.objects.get().after == kept


@pytest.mark.django_db
def test_hostile_text_does_not_stop_the_change():
    odd = Actor(uuid4(), Scope.READ, CallerKind.TOKEN, request_id="r" * 500, ip="not an address")
    record_change(odd, "thing.changed", "thing", "x" * 500, after={"a": "nul\x00"}, reason="\x00no")

    entry = AuditEntry.objects.get()
    assert (entry.ip, entry.after, entry.reason) == (None, {"a": "nul"}, "no")


@pytest.mark.django_db
def test_a_workspaces_admin_reads_its_own_entries_only():
    other = Actor(uuid4(), Scope.ADMIN, CallerKind.TOKEN)
    mine = record_change(ACTOR, "thing.changed", "thing", "1")
    record_change(other, "thing.changed", "thing", "2")

    assert list(list_audit(ACTOR)) == [mine]
    assert list_platform_audit(system_caller()).count() == 2
    with pytest.raises(ScopeInsufficient):
        list_audit(ACTOR.with_scope(Scope.WRITE))
