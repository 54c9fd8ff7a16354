"""Verbs on people. Each is one transaction: change, audit entry, news.

`record_change` is here for every app above: it writes the audit entry of a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts.audit import record_change
from apps.accounts.errors import EmailTaken, PasswordRefused, PasswordWrong
from apps.accounts.events import PasswordChanged, UserChanged, UserCreated
from apps.accounts.models import PlatformRole, User
from apps.accounts.selectors import (
    AUDIT_CLEARED,
    get_user,
    list_audit_view,
    need_platform,
    system_caller,
)
from apps.core.actor import Caller, CallerKind
from apps.core.announce import announce
from apps.core.checks import checked_email, checked_text, checked_url
from apps.core.errors import Conflict, NotFound, ScopeInsufficient
from apps.core.rows import execute

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

__all__ = [
    "change_password",
    "clear_audit_view",
    "create_operator",
    "create_user",
    "record_change",
    "set_active",
    "update_profile",
]

LONGEST_PASSWORD = 1024
LONGEST_NAME = 200
MOST_COUNTED = 10_000  # entries


@transaction.atomic
def create_operator(email: str, password: str) -> User:
    """Bootstrap the first operator of a new installation. The one verb without a caller.

    Documented exception to "the caller comes first": on a first run nobody exists who could call.
    It therefore refuses (`Conflict`) once there is an operator.
    """
    execute("SELECT pg_advisory_xact_lock(7890)", [])  # two first runs at once: one of them waits
    if User.objects.filter(is_superuser=True).exists():
        raise Conflict("This installation has an operator already.")
    return _insert_user(
        system_caller(),
        email,
        password,
        role=PlatformRole.SUPERADMIN,
        is_staff=True,
        is_superuser=True,
    )


@transaction.atomic
def create_user(
    caller: Caller,
    email: str,
    password: str | None = None,
    *,
    display_name: str = "",
    role: PlatformRole = PlatformRole.USER,
    must_change_password: bool = False,
) -> User:
    """A new person; operators only. Without a password they cannot log in until one is set.

    Raises OperatorsOnly, InvalidInput, PasswordRefused, EmailTaken.
    """
    need_platform(caller)
    staff = role in {PlatformRole.SUPERADMIN, PlatformRole.ADMIN}
    return _insert_user(
        caller,
        email,
        password,
        display_name=checked_text("display_name", display_name, LONGEST_NAME, required=False),
        role=role,
        is_staff=staff,
        is_superuser=role == PlatformRole.SUPERADMIN,
        must_change_password=must_change_password,
    )


@transaction.atomic
def update_profile(
    caller: Caller, user_id: UUID, *, display_name: str | None = None, avatar_url: str | None = None
) -> User:
    """Change how a person is shown; themselves or an operator. An empty URL clears the picture."""
    _refuse_session_tokens(caller)
    get_user(caller, user_id)
    user = _lock(user_id)
    changes: dict[str, str] = {}
    if display_name is not None:
        changes["display_name"] = checked_text(
            "display_name", display_name, LONGEST_NAME, required=False
        )
    if avatar_url is not None:
        changes["avatar_url"] = checked_url("avatar_url", avatar_url)
    return _apply(caller, user, changes)


@transaction.atomic
def clear_audit_view(actor: Actor) -> int:
    """The workspace's own view of its record begins anew, with the entry that says so; how many
    entries it showed, `MOST_COUNTED` at most.

    The installation's record is append-only: it keeps everything, and operators see it.
    """
    shown: int = list_audit_view(actor)[:MOST_COUNTED].count()
    after = {"previous_entries_count": shown}
    record_change(actor, AUDIT_CLEARED, "audit", actor.workspace_id, after=after)
    return shown


@transaction.atomic
def set_active(caller: Caller, user_id: UUID, *, active: bool, reason: str) -> User:
    """Close or reopen an account; operators only. A closed account's tokens stop at once."""
    need_platform(caller)
    if user_id == caller.user_id:
        raise Conflict("You cannot close your own account.")
    return _apply(caller, _lock(user_id), {"is_active": active}, reason=reason)


@transaction.atomic
def change_password(caller: Caller, user_id: UUID, *, new: str, present: str | None = None) -> None:
    """Set a new password: themselves with the present one, or an operator without.

    Raises PasswordWrong, PasswordRefused, NotFound. Other logins of the user end: Django's session
    hash depends on the password.
    """
    if caller.kind not in {CallerKind.LOGIN, CallerKind.OPERATOR, CallerKind.SYSTEM}:
        raise ScopeInsufficient("Log in to change a password.", required="login")
    get_user(caller, user_id)
    user = _lock(user_id)
    by_operator = caller.platform and user_id != caller.user_id
    if not by_operator and not user.check_password((present or "")[:LONGEST_PASSWORD]):
        raise PasswordWrong
    user.set_password(_checked_password(new, user))
    user.must_change_password = by_operator
    user.save(update_fields=["password", "must_change_password", "updated_at"])
    record_change(caller, "user.password_changed", "user", user.pk)
    announce(caller, PasswordChanged(user_id=user.pk))


def _checked_password(password: Any, user: User | None = None) -> str:
    """`password` if the rules allow it; PasswordRefused says which do not."""
    if not isinstance(password, str) or len(password) > LONGEST_PASSWORD:
        raise PasswordRefused(fields={"password": ["Must be text of at most 1024 characters."]})
    try:
        validate_password(password, user)
    except ValidationError as refused:
        raise PasswordRefused(fields={"password": list(refused.messages)}) from None
    return password


def _insert_user(caller: Caller, email: str, password: str | None, **fields: Any) -> User:
    user = User(email=checked_email("email", email), **fields)
    user.set_password(None if password is None else _checked_password(password, user))
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:  # the unique index decides, whoever else is creating the same person
        raise EmailTaken from None
    record_change(
        caller, "user.created", "user", user.pk, after={"email": user.email, "role": str(user.role)}
    )
    announce(caller, UserCreated(user_id=user.pk, role=str(user.role)))
    return user


def _apply(caller: Caller, user: User, changes: dict[str, Any], *, reason: str = "") -> User:
    changed = {name: new for name, new in changes.items() if getattr(user, name) != new}
    if not changed:
        return user
    before = {name: getattr(user, name) for name in changed}
    for name, new in changed.items():
        setattr(user, name, new)
    user.save(update_fields=[*changed, "updated_at"])
    record_change(
        caller, "user.changed", "user", user.pk, before=before, after=changed, reason=reason
    )
    announce(caller, UserChanged(user_id=user.pk, fields=tuple(sorted(changed))))
    return user


def _lock(user_id: UUID) -> User:
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound
    return user


def _refuse_session_tokens(caller: Caller) -> None:
    if caller.kind == CallerKind.SESSION_TOKEN:
        raise ScopeInsufficient("A session token may only use its session.", required="write")
