"""Log in with e-mail and password: throttled, and equally slow whether or not the account exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.core.exceptions import PermissionDenied

from apps.accounts import throttle
from apps.accounts.errors import LoginThrottled
from apps.accounts.selectors import find_user_by_email

if TYPE_CHECKING:
    from django.http import HttpRequest

    from apps.accounts.models import User

LONGEST_PASSWORD = 1024


class EmailBackend(ModelBackend):
    """The login of the operator console and of every surface that takes a password.

    Raises `PermissionDenied` when the account or the address is throttled: Django then asks no other
    backend, and the form says the same as for a wrong password.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **extra: Any,
    ) -> User | None:
        email = username or extra.get("email")
        if not email or password is None or len(password) > LONGEST_PASSWORD:
            return None
        try:
            throttle.count_login(email, client_ip(request))
        except LoginThrottled:
            raise PermissionDenied from None
        return _check_password(self, email, password)


def _check_password(backend: EmailBackend, email: str, password: str) -> User | None:
    user = find_user_by_email(email)
    if user is None or not user.has_usable_password():
        make_password(password)  # as slow as a real check: the clock must not name our users
        return None
    if not user.check_password(password) or not backend.user_can_authenticate(user):
        return None
    throttle.forget_login(email)
    return user


def client_ip(request: HttpRequest | None) -> str:
    """The address the attempt came from, behind as many proxies as the settings trust."""
    if request is None:
        return ""
    peer = str(request.META.get("REMOTE_ADDR", ""))
    said = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
    hops = [hop.strip() for hop in said.split(",")]
    trusted = settings.TRUSTED_PROXIES
    if trusted and hops != [""]:
        return hops[-min(trusted, len(hops))]
    return peer
