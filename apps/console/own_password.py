"""An operator's own password: changed through the service, and first of all when they have to.

Whoever was given a password by somebody else sees nothing of the console before they have their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse, reverse_lazy
from unfold.forms import AdminOwnPasswordChangeForm

from apps.accounts.backends import client_ip
from apps.accounts.selectors import login_caller
from apps.accounts.services import change_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

# What they may open all the same: the way to the change, its script, and the way out.
OPEN = frozenset({"login", "logout", "password_change", "jsi18n"})


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Saves through the service: audited, and `must_change_password` ends."""

    def __init__(self, *args: Any, ip: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ip = ip

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  (Django's signature)
        change_password(
            login_caller(self.user, ip=self._ip),
            self.user.pk,
            new=self.cleaned_data["new_password1"],
            present=self.cleaned_data["old_password"],
        )
        self.user.refresh_from_db()
        return self.user


class OwnPassword(PasswordChangeView):
    """In place of the admin's own page, at the same address."""

    form_class = OwnPasswordForm
    template_name = "registration/password_change_form.html"
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "ip": client_ip(self.request)}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**admin.site.each_context(self.request), **super().get_context_data(**kwargs)}


def own_password_urls() -> list[URLPattern]:
    """Joined to the admin's own URLs, before them."""
    view = admin.site.admin_view(OwnPassword.as_view(), cacheable=True)
    return [path("password_change/", view, name="password_change")]


class OwnPasswordFirst:
    """Sends an operator with a password that is not their own to the page that changes it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: object, _kwargs: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or match.app_name != "admin" or match.url_name in OPEN:
            return None
        if getattr(request.user, "must_change_password", False):
            return HttpResponseRedirect(reverse("admin:password_change"))
        return None
