"""Whoever was given a password has to choose their own before they see the console."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import AuditEntry, User
from tests.console.conftest import PASSWORD

CHANGE = "/admin/password_change/"
OWN = "quite another horse"


@pytest.fixture
def newcomer(db):
    """Nora, an operator whose password somebody else made."""
    return User.objects.create_superuser("nora@example.org", PASSWORD, must_change_password=True)


@pytest.fixture
def browser(newcomer):
    client = Client()
    client.force_login(newcomer)
    return client


def change(browser, old=PASSWORD, new=OWN):
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    return browser.post(CHANGE, form)


@pytest.mark.parametrize("name", ["index", "runs_run_changelist", "search", "live_new"])
def test_every_page_leads_to_the_change(browser, name):
    answer = browser.get(reverse(f"admin:{name}"))
    assert (answer.status_code, answer["Location"]) == (302, CHANGE)


def test_no_ticket_is_given_before_the_change(browser, world):
    answer = browser.post(reverse("admin:live_ticket", args=[world.session().pk]))
    assert (answer.status_code, answer["Location"]) == (302, CHANGE)


def test_the_change_itself_and_the_way_out_are_open(browser):
    page = browser.get(CHANGE)
    assert page.status_code == 200
    assert "old_password" in page.text
    assert browser.post(reverse("admin:logout")).status_code == 200


def test_an_own_password_opens_the_console(browser, newcomer):
    assert change(browser)["Location"] == "/admin/password_change/done/"
    newcomer.refresh_from_db()
    assert newcomer.check_password(OWN)
    assert not newcomer.must_change_password
    assert browser.get(reverse("admin:index")).status_code == 200
    entry = AuditEntry.objects.get(action="user.password_changed")
    assert (entry.user_id, entry.subject_id) == (newcomer.pk, str(newcomer.pk))


def test_a_wrong_or_weak_password_changes_nothing(browser, newcomer):
    for answer in (change(browser, old="wrong"), change(browser, new="1234")):
        assert answer.status_code == 200
    newcomer.refresh_from_db()
    assert newcomer.must_change_password
    assert newcomer.check_password(PASSWORD)


def test_who_chose_their_own_password_is_left_alone(console):
    assert console.get(reverse("admin:index")).status_code == 200


def test_other_logins_end_with_the_change(browser, newcomer):
    elsewhere = Client()
    elsewhere.force_login(newcomer)
    change(browser)
    assert "/login/" in elsewhere.get(reverse("admin:index"))["Location"]
