from __future__ import annotations

import pytest

from apps.accounts import services
from apps.accounts.errors import EmailTaken, OperatorsOnly, PasswordRefused, PasswordWrong
from apps.accounts.models import AuditEntry, PlatformRole, User
from apps.accounts.selectors import get_user, login_caller, operator_caller, system_caller
from apps.core.actor import CallerKind, Scope
from apps.core.errors import Conflict, Forbidden, InvalidInput, NotFound

pytestmark = pytest.mark.django_db

GOOD = "correct horse battery"


@pytest.fixture
def operator():
    return operator_caller(services.create_operator("Root@Example.org", GOOD))


def test_the_first_operator_may_log_in_and_see_the_console():
    user = services.create_operator("Root@Example.org", GOOD)

    assert (user.email, user.is_staff, user.is_superuser) == ("root@example.org", True, True)
    assert user.check_password(GOOD)
    assert operator_caller(user).kind == CallerKind.OPERATOR
    assert AuditEntry.objects.get().actor_kind == "system"


def test_there_is_no_second_first_operator(operator):
    with pytest.raises(Conflict):
        services.create_operator("second@example.org", GOOD)
    assert User.objects.count() == 1


def test_an_operator_creates_people_and_others_do_not(operator):
    ada = services.create_user(operator, "Ada@Example.org", GOOD, display_name=" Ada ")

    assert (ada.email, ada.display_name, ada.is_staff) == ("ada@example.org", "Ada", False)
    with pytest.raises(OperatorsOnly):
        services.create_user(login_caller(ada), "eve@example.org", GOOD)
    with pytest.raises(OperatorsOnly):
        operator_caller(ada)


def test_an_e_mail_belongs_to_one_person_in_any_case(operator):
    services.create_user(operator, "ada@example.org")
    with pytest.raises(EmailTaken):
        services.create_user(operator, "ADA@example.org")


@pytest.mark.parametrize("email", ["", "ada", "a\x00@example.org", "x" * 300 + "@example.org", 5])
def test_what_is_no_e_mail_is_refused(operator, email):
    with pytest.raises(InvalidInput) as refused:
        services.create_user(operator, email)
    assert list(refused.value.details["fields"]) == ["email"]


@pytest.mark.parametrize("password", ["short", "password1234", "x" * 1025])
def test_a_password_anybody_could_guess_is_refused(operator, password):
    with pytest.raises(PasswordRefused):
        services.create_user(operator, "ada@example.org", password)
    assert not User.objects.filter(email="ada@example.org").exists()


def test_the_password_is_never_written_to_the_audit_log(operator):
    services.create_user(operator, "ada@example.org", GOOD)
    written = str(list(AuditEntry.objects.values_list("before", "after", "reason")))
    assert GOOD not in written
    assert "argon2" not in written


def test_changing_a_password_takes_the_present_one(operator):
    ada = services.create_user(operator, "ada@example.org", GOOD)
    me = login_caller(ada)

    with pytest.raises(PasswordWrong):
        services.change_password(me, ada.pk, new="another fine phrase", present="wrong")
    services.change_password(me, ada.pk, new="another fine phrase", present=GOOD)

    ada.refresh_from_db()
    assert ada.check_password("another fine phrase")
    assert AuditEntry.objects.filter(action="user.password_changed").count() == 1


def test_a_password_set_by_an_operator_must_be_changed(operator):
    ada = services.create_user(operator, "ada@example.org")
    services.change_password(operator, ada.pk, new="another fine phrase")

    ada.refresh_from_db()
    assert ada.must_change_password


def test_a_bearer_token_cannot_change_a_password(aurora):
    with pytest.raises(Forbidden):
        services.change_password(aurora.ada_caller, aurora.ada_user.pk, new="another fine phrase")


def test_a_stranger_cannot_tell_whether_a_user_exists(operator):
    ada = login_caller(services.create_user(operator, "ada@example.org"))
    ben = services.create_user(operator, "ben@example.org")

    with pytest.raises(NotFound):
        get_user(ada, ben.pk)
    with pytest.raises(NotFound):
        services.update_profile(ada, ben.pk, display_name="Benjamin")


def test_a_profile_is_changed_by_its_owner_with_before_and_after(operator):
    ada = services.create_user(operator, "ada@example.org", display_name="Ada")
    services.update_profile(login_caller(ada), ada.pk, display_name="Ada L.")

    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.before, entry.after) == ({"display_name": "Ada"}, {"display_name": "Ada L."})


def test_a_change_that_changes_nothing_is_not_recorded(operator):
    ada = services.create_user(operator, "ada@example.org", display_name="Ada")
    services.update_profile(login_caller(ada), ada.pk, display_name="Ada")
    assert not AuditEntry.objects.filter(action="user.changed").exists()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://example.org/a.png", "nonsense"])
def test_a_picture_lives_at_a_web_address(operator, url):
    ada = services.create_user(operator, "ada@example.org")
    with pytest.raises(InvalidInput):
        services.update_profile(login_caller(ada), ada.pk, avatar_url=url)


def test_a_closed_account_cannot_log_in(operator):
    ada = services.create_user(operator, "ada@example.org", role=PlatformRole.USER)
    services.set_active(operator, ada.pk, active=False, reason="left the company")

    ada.refresh_from_db()
    with pytest.raises(Forbidden):
        login_caller(ada)
    assert AuditEntry.objects.get(action="user.changed").reason == "left the company"


def test_an_operator_cannot_lock_themselves_out(operator):
    with pytest.raises(Conflict):
        services.set_active(operator, operator.user_id, active=False, reason="oops")


def test_the_platform_itself_is_a_caller():
    assert (system_caller().kind, system_caller().scope) == (CallerKind.SYSTEM, Scope.ADMIN)
