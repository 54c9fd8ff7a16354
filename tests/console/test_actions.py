"""Actions ask why, act through a service, and leave an audit entry with the operator's name."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from apps.accounts.models import AuditEntry, User
from apps.workspaces.models import Workspace

WHY = "Reported by the customer"


def act(console, model, name, row, reason=WHY):
    return console.post(
        reverse(f"admin:{model}_{name}", args=[row.pk]), {"reason": reason}, follow=True
    )


def entry_of(row):
    return AuditEntry.objects.filter(subject_id=str(row.pk), reason=WHY).first()


def test_an_action_asks_before_it_acts(console, world):
    token = world.token()
    page = console.get(reverse("admin:workspaces_apitoken_revoke", args=[token.pk]))
    assert "Reason" in page.text
    assert str(token.pk) in page.text
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize("reason", ["", "  ", "no", "x" * 501])
def test_a_reason_is_required_and_bounded(console, world, reason):
    token = world.token()
    answer = act(console, "workspaces_apitoken", "revoke", token, reason)
    assert answer.status_code == 200
    token.refresh_from_db()
    assert token.revoked_at is None


def test_revoking_a_token_is_done_and_recorded(console, operator, world):
    token = world.token()
    act(console, "workspaces_apitoken", "revoke", token)
    token.refresh_from_db()
    assert token.revoked_at is not None
    entry = entry_of(token)
    assert (entry.user_id, entry.actor_kind) == (operator.pk, "operator")


def test_a_token_for_every_workspace_can_be_revoked(console, world):
    token = world.token(workspace=None)
    act(console, "workspaces_apitoken", "revoke", token)
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_many_rows_are_acted_on_with_one_reason(console, world):
    tokens = [world.token() for _ in range(3)]
    url = reverse("admin:workspaces_apitoken_changelist")
    chosen = {"action": "revoke", "_selected_action": [token.pk for token in tokens]}
    page = console.post(url, chosen)
    assert "3 api tokens affected" in page.text
    console.post(url, chosen | {"reason": WHY})
    for token in tokens:
        token.refresh_from_db()
        assert token.revoked_at is not None


def test_suspending_and_resuming_a_workspace(console, world):
    act(console, "workspaces_workspace", "suspend", world.workspace)
    assert Workspace.objects.get(pk=world.workspace.pk).status == "suspended"
    assert entry_of(world.workspace)
    act(console, "workspaces_workspace", "resume", world.workspace)
    assert Workspace.objects.get(pk=world.workspace.pk).status == "active"


def test_cancelling_a_queued_run(console, world, recording_queue):
    run = world.run(status="queued")
    act(console, "runs_run", "cancel", run)
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert entry_of(run)


def test_cancelling_a_finished_run_says_why_not(console, world):
    run = world.run(status="succeeded")
    page = act(console, "runs_run", "cancel", run).text
    run.refresh_from_db()
    assert run.status == "succeeded"
    assert "told to stop" not in page


def test_an_operator_decides_an_approval(console, operator, world, recording_queue):
    approval = world.approval()
    act(console, "approvals_approval", "reject", approval)
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by_id, approval.note) == ("denied", operator.pk, WHY)


def test_ending_a_session(console, world, recording_queue):
    session = world.session()
    act(console, "conversations_session", "end", session)
    session.refresh_from_db()
    assert session.status == "ended"
    assert entry_of(session).action == "session.ended"


@pytest.mark.parametrize(
    ("model", "name", "living", "over"),
    [
        ("runs_run", "cancel", {"status": "queued"}, {"status": "failed"}),
        ("conversations_session", "end", {"status": "idle"}, {"status": "ended"}),
    ],
)
def test_what_is_over_offers_no_button_to_end_it(console, world, model, name, living, over):
    make = {"runs_run": world.run, "conversations_session": world.session}[model]
    for row, offered in ((make(**living), True), (make(**over), False)):
        page = console.get(reverse(f"admin:{model}_change", args=[row.pk])).text
        assert (reverse(f"admin:{model}_{name}", args=[row.pk]) in page) is offered


def test_closing_an_account_and_never_ones_own(console, operator, aurora):
    act(console, "accounts_user", "close_account", aurora.ada_user)
    assert not User.objects.get(pk=aurora.ada_user.pk).is_active
    act(console, "accounts_user", "close_account", operator)
    assert User.objects.get(pk=operator.pk).is_active


def test_a_periodic_job_is_switched_off_with_a_reason(console, world):
    world.one_of_everything()
    job = PeriodicTask.objects.get(name="console.test")
    url = reverse("admin:django_celery_beat_periodictask_changelist")
    console.post(url, {"action": "disable", "_selected_action": [job.pk], "reason": WHY})
    job.refresh_from_db()
    assert not job.enabled
    assert entry_of(job)


def test_an_action_without_a_csrf_token_is_refused(operator, world):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    token = world.token()
    answer = strict.post(
        reverse("admin:workspaces_apitoken_revoke", args=[token.pk]), {"reason": WHY}
    )
    assert answer.status_code == 403
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_crash_in_a_service_is_logged_and_not_shown(console, world, monkeypatch, caplog):
    def crash(*args, **kwargs):
        raise RuntimeError("the database password is hunter2")

    monkeypatch.setattr("apps.workspaces.admin.revoke_token", crash)
    page = act(console, "workspaces_apitoken", "revoke", world.token()).text
    assert "something went wrong" in page
    assert "hunter2" not in page
    assert "hunter2" in caplog.text
