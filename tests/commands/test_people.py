"""`manage.py user`, `member` and `token`: who is here, and with what in their hands."""

from __future__ import annotations

import io
import sys

import pytest
from django.core.management import CommandError

from apps.accounts.models import AuditEntry, User
from apps.core.actor import Scope
from apps.workspaces.credentials import actor_of_token
from apps.workspaces.models import ApiToken, Member
from apps.workspaces.selectors import caller_of_token

HERE = ("--workspace", "aurora")
BEN = ("--email", "ben@example.org")
NEW = ("--email", "Dora@example.org")


def role_of(aurora, user):
    return Member.objects.in_workspace(aurora.id).filter(user=user).values_list("role").first()


def test_a_made_password_is_shown_once_and_has_to_be_changed(ask, db, newest):
    made = ask("user", "create", *NEW, "--display-name", "Dora")
    dora = User.objects.get(email="dora@example.org")
    assert dora.check_password(made["password"])
    assert (dora.must_change_password, dora.is_staff, dora.display_name) == (True, False, "Dora")
    entry = newest("user.created")
    assert entry.request_id == "manage.py user create"
    assert made["password"] not in str(entry.after)


def test_a_password_comes_from_stdin_and_is_not_shown(manage, db, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    said = manage("user", "create", *NEW, "--staff", "--password-stdin")
    dora = User.objects.get(email="dora@example.org")
    assert dora.check_password("correct horse battery")
    assert (dora.is_staff, dora.is_superuser, dora.must_change_password) == (True, False, False)
    assert "horse" not in said


def test_a_password_is_asked_for_twice(manage, db, monkeypatch):
    typed = iter(["correct horse battery", "correct horse batery"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    monkeypatch.setattr("apps.accounts.management.commands.user.getpass", lambda _: next(typed))
    with pytest.raises(CommandError, match="not the same"):
        manage("user", "create", *NEW, "--password-prompt")
    assert not User.objects.exists()


def test_a_weak_password_is_refused(manage, db, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("1234\n"))
    with pytest.raises(CommandError, match="password: "):
        manage("user", "create", *NEW, "--password-stdin")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("email", "problem"),
    [("nobody", "email: Must be an e-mail"), ("Ada@Example.org", "(?i)e-mail|exists|taken")],
)
def test_a_bad_address_is_refused(manage, aurora, email, problem):
    before = User.objects.count()
    with pytest.raises(CommandError, match=problem):
        manage("user", "create", "--email", email)
    assert User.objects.count() == before


def test_people_are_listed(ask, aurora):
    assert {"ada@example.org", "ben@example.org"} <= {row["email"] for row in ask("user", "list")}


def test_a_member_is_added_promoted_and_removed(manage, ask, aurora, newest):
    ask("user", "create", *NEW)
    dora = User.objects.get(email="dora@example.org")
    manage("member", "add", *HERE, *NEW, "--role", "viewer")
    assert role_of(aurora, dora) == ("viewer",)
    manage("member", "role", *HERE, *NEW, "--role", "owner")
    assert role_of(aurora, dora) == ("owner",)
    assert "dora@example.org" in manage("member", "list", *HERE)
    manage("member", "remove", *HERE, *NEW)
    assert role_of(aurora, dora) is None
    for action in ("member.added", "member.changed", "member.removed"):
        assert newest(action).subject_id == str(dora.pk)
        assert newest(action).request_id.startswith("manage.py member ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("add", *HERE, *BEN, "--role", "king"), "role: Use one of viewer"),
        (("add", *HERE, *BEN), "(?i)already"),
        (("add", *HERE, "--email", "x@example.org"), "There is no user x@example.org"),
        (("role", *HERE, "--email", "mallory@example.org", "--role", "owner"), "not a member here"),
        (("remove", *HERE, "--email", "mallory@example.org"), "not a member here"),
        (("remove", *HERE, "--email", "ada@example.org"), "(?i)owner"),
        (("list", "--workspace", "nowhere"), "There is no workspace 'nowhere'"),
    ],
)
def test_a_seat_that_cannot_be_changed_is_said(manage, aurora, borealis, words, problem):
    seats = set(Member.unscoped.values_list("workspace_id", "user_id", "role"))
    before = AuditEntry.objects.count()
    with pytest.raises(CommandError, match=problem):
        manage("member", *words)
    assert set(Member.unscoped.values_list("workspace_id", "user_id", "role")) == seats
    assert AuditEntry.objects.count() == before


def issue(ask, *more, workspace="aurora", scope="write"):
    words = (*BEN, "--workspace", workspace, "--scope", scope, "--name", "backup", *more)
    return ask("token", "issue", *words)


def test_an_issued_token_opens_its_workspace_for_its_holder(ask, aurora, newest):
    raw = issue(ask)["token"]
    _, actor = actor_of_token(raw, aurora.id)
    assert (actor.user_id, actor.scope) == (aurora.ben_user.pk, Scope.WRITE)
    entry = newest("token.issued")
    assert (entry.actor_kind, entry.user_id) == ("operator", None)
    assert raw not in str(entry.after)


def test_a_token_may_open_every_seat_of_its_holder(ask, aurora):
    assert caller_of_token(issue(ask, workspace="*", scope="admin")["token"]).everywhere


def test_a_token_reaches_no_further_than_its_holders_role(ask, aurora):
    count = ApiToken.objects.count()
    with pytest.raises(CommandError, match="scope"):
        issue(ask, scope="admin")
    assert ApiToken.objects.count() == count


def test_a_token_is_for_those_with_a_seat(ask, aurora, borealis):
    with pytest.raises(CommandError, match=r"ben@example\.org has no seat in borealis"):
        issue(ask, workspace="borealis")


def test_tokens_are_listed_without_the_secret(manage, ask, aurora):
    raw = issue(ask)["token"]
    text = manage("token", "list", *BEN, *HERE)
    assert "backup" in text
    assert raw not in text
    assert {row["workspace"] for row in ask("token", "list", *BEN, "--workspace", "*")} == {"*"}
    assert len(ask("token", "list", *BEN)) == 3


def test_a_revoked_token_opens_nothing(manage, ask, aurora, newest):
    raw = issue(ask)["token"]
    manage("token", "revoke", *BEN, "--name", "backup", "--reason", "Lost on the train")
    with pytest.raises(Exception, match="revoked"):
        caller_of_token(raw)
    assert newest("token.revoked").reason == "Lost on the train"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--name", "backup"), "Several tokens fit"),
        (("--prefix", "pmx_"), "Several tokens fit"),
        (("--name", "nothing"), "no such live token"),
        (("--prefix", ""), "no such live token"),
    ],
)
def test_a_token_is_revoked_only_when_it_is_plain_which(manage, ask, aurora, words, problem):
    issue(ask)
    issue(ask)
    with pytest.raises(CommandError, match=problem):
        manage("token", "revoke", *BEN, *words)
    assert not ApiToken.objects.exclude(revoked_at=None).exists()


def test_somebody_elses_token_is_not_revoked_by_prefix(manage, aurora):
    prefix = ApiToken.objects.get(pk=aurora.ada_token_id).prefix
    with pytest.raises(CommandError, match="no such live token"):
        manage("token", "revoke", *BEN, "--prefix", prefix)
