"""Formations in the console: what the list tells, and what an operator does with them."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.accounts.models import AuditEntry, User
from apps.formations.models import Formation
from apps.surfaces.kit import FormationRef
from tests.support.formations import Made
from tests.support.management import bundle

WHY = "Asked for by the customer"
LIST = "admin:formations_formation_changelist"


def page_of(row):
    return reverse("admin:formations_formation_change", args=[row.pk])


def archive(**fields):
    return SimpleUploadedFile(
        "team.tar.gz", bundle("team", **fields), content_type="application/gzip"
    )


def deploy(console, **fields):
    given = {"workspace": "aurora", "formation": "team", "bundle": archive(), "reason": WHY}
    return console.post(reverse("admin:formations_formation_deploy"), given | fields)


def act(console, row, name, **fields):
    url = reverse(f"admin:formations_formation_{name}", args=[row.pk])
    return console.post(url, {"reason": WHY, **fields}, follow=True)


def opens(row, key):
    """Does this admin key open the formation?"""
    at = Made(row, key, "", None, FormationRef(row.slug, row.home_id))
    return at.get("/v1/agents", key="admin").status_code == 200


def why(row, action):
    return AuditEntry.objects.get(subject_id=str(row.pk), action=action, reason=WHY)


@pytest.fixture
def team(console, world):
    """A formation that Olga has deployed; `team.keys` as the page showed them."""
    page = deploy(console)
    assert page.status_code == 200, page.text
    row = Formation.unscoped.get()
    row.keys = re.findall(r"sk_muxi_\w+|fm[ac]_[\w-]+", page.text)
    return row


def test_the_list_tells_status_port_and_what_was_spent(console, world):
    made = world.formation(port=8123)
    world.run_in(made.home_id, tokens_in=1_200, cost_micros=2_500_000)
    page = console.get(reverse(LIST)).text
    for shown in ("team", "running", "healthy", "8123", "1.0.0", "1.2k", "$2.50"):
        assert shown in page


def test_a_list_of_formations_asks_as_much_for_ten_as_for_one(
    console, world, django_assert_num_queries, django_assert_max_num_queries
):
    world.formation()
    console.get(reverse(LIST))
    with django_assert_max_num_queries(12) as few:
        console.get(reverse(LIST))
    for number in range(9):
        world.formation(f"team-{number}", port=8100 + number)
    with django_assert_num_queries(len(few.captured_queries)):
        console.get(reverse(LIST))


def test_a_deployed_bundle_runs_and_its_keys_are_shown_once(console, operator, team):
    assert team.status == "running"
    assert len(team.keys) == 2
    assert why(team, "formation.deployed_by_operator").user_id == operator.pk
    page = console.get(page_of(team)).text
    assert "formation.afs" in page
    assert "helper" in page
    assert not any(key in page for key in team.keys)


def test_what_is_wrong_with_a_bundle_stands_on_the_form(console, world):
    for wrong in (
        {"bundle": SimpleUploadedFile("a.tar.gz", b"no archive")},
        {"workspace": "nowhere"},
        {"formation": "other"},
        {"reason": ""},
    ):
        answer = deploy(console, **wrong)
        assert answer.status_code == 200
        assert "console-error" in answer.text or "errors" in answer.text, wrong
    assert not Formation.unscoped.exists()


def test_another_version_serves_after_its_upload_and_the_one_before_comes_back(console, team):
    act(console, team, "deploy_version", bundle=archive(version="2.0.0", says="Differently."))
    team.refresh_from_db()
    assert team.current.version == "2.0.0"
    act(console, team, "roll_back")
    team.refresh_from_db()
    assert team.current.version == "1.0.0"
    assert why(team, "formation.rolled_back_by_operator")


def test_a_formation_is_stopped_and_started(console, team):
    act(console, team, "stop")
    team.refresh_from_db()
    assert team.status == "stopped"
    assert "Start formation" in console.get(page_of(team)).text
    act(console, team, "start")
    team.refresh_from_db()
    assert team.status == "running"
    assert "Start formation" not in console.get(page_of(team)).text
    assert why(team, "formation.stopped_by_operator")


def test_rotated_keys_open_in_place_of_the_old_ones(console, team):
    old = next(key for key in team.keys if "admin" in key)
    assert opens(team, old)
    page = act(console, team, "rotate_keys")
    (new,) = re.findall(r"fma_[\w-]+", page.text)
    assert "no-store" in page["Cache-Control"]
    assert (opens(team, old), opens(team, new)) == (False, True)
    assert why(team, "formation.keys_rotated")


def test_who_may_only_look_changes_nothing(client, console, team):
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_formation"))
    client.force_login(watcher)
    assert client.get(page_of(team)).status_code == 200
    assert deploy(client, formation="other").status_code == 403
    for name in ("deploy_version", "rotate_keys", "stop", "roll_back"):
        assert act(client, team, name).status_code == 403, name
