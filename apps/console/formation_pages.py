"""Pages on which an operator deploys a bundle, or gives a formation new keys.

Both end with what is shown once: keys that were made now are in this answer and nowhere else, which is
why neither is a plain reason action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from apps.accounts.services import record_change
from apps.console import show
from apps.console.operator import operator_actor, operator_caller
from apps.console.reasons import ReasonForm
from apps.core.errors import DomainError
from apps.formations import services
from apps.workspaces.operating import workspace_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from apps.core.actor import Actor
    from apps.formations.models import Formation

KEY_WORDS = {"admin_key": "Admin key", "client_key": "Client key"}


class BundleForm(ReasonForm):
    """A bundle as the command line packs it."""

    bundle = forms.FileField(
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".tar.gz,.tgz,application/gzip"}),
        help_text="A tar.gz with one folder at its root.",
    )
    field_order = ("workspace", "formation", "bundle", "reason")

    def clean_bundle(self) -> Any:
        bundle = self.cleaned_data["bundle"]
        if bundle.size > settings.MAX_UPLOAD_BYTES:
            raise forms.ValidationError(f"At most {settings.MAX_UPLOAD_BYTES:,} bytes.")
        return bundle


class NewBundleForm(BundleForm):
    """As `BundleForm`, and where the formation will belong."""

    workspace = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="The slug of the workspace that deploys it.",
    )
    formation = forms.CharField(
        max_length=50, widget=UnfoldAdminTextInputWidget(), help_text="Its id, as in the file."
    )


def with_reason(actor: Actor, row: Formation, verb: str, reason: str) -> None:
    """The operator's words: services of formations are also called by deployers, who give none."""
    record_change(actor, f"formation.{verb}_by_operator", "formation", row.pk, reason=reason)


def deploy_page(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Upload a bundle that becomes a new formation."""

    def deploy(form: NewBundleForm) -> HttpResponse:
        given = form.cleaned_data
        place = workspace_id_of(operator_caller(request), given["workspace"])
        actor = operator_actor(request, place)
        steps = services.deploy(actor, given["bundle"], slug=given["formation"])
        outcome = services.finished(steps)
        with_reason(actor, outcome.formation, "deployed", given["reason"])
        return keys_shown(model_admin, request, outcome.formation, outcome.keys)

    title, words = "Deploy formation", "It runs as soon as its bundle has been read."
    return _asked(model_admin, request, NewBundleForm, deploy, title=title, explain=words)


def update_page(model_admin: Any, request: HttpRequest, row: Formation) -> HttpResponse:
    """Upload a bundle that becomes the formation's next version."""

    def update(form: BundleForm) -> HttpResponse:
        given, actor = form.cleaned_data, operator_actor(request, row.workspace_id)
        outcome = services.finished(services.update(actor, given["bundle"], slug=row.slug))
        with_reason(actor, row, "updated", given["reason"])
        messages.success(request, f"{row.slug} serves {outcome.version} (#{outcome.number}).")
        return HttpResponseRedirect(show.change_url("formations_formation", row.pk))

    title, words = f"Update {row.slug}", "Requests under way end with the version they began with."
    return _asked(model_admin, request, BundleForm, update, title=title, explain=words)


def rotate_page(model_admin: Any, request: HttpRequest, row: Formation) -> HttpResponse:
    """New keys in place of the formation's."""

    def rotate(form: ReasonForm) -> HttpResponse:
        actor = operator_actor(request, row.workspace_id)
        made = services.rotate_keys(actor, row.slug, reason=form.cleaned_data["reason"])
        return keys_shown(model_admin, request, row, made)

    words = "Applications that hold the old ones are refused from the next request on."
    title = f"Rotate the keys of {row.slug}"
    return _asked(model_admin, request, ReasonForm, rotate, title=title, explain=words)


def keys_shown(
    model_admin: Any, request: HttpRequest, row: Formation, keys: dict[str, str]
) -> HttpResponse:
    """The page that shows new keys, this once."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": row.slug,
        "keys": [(KEY_WORDS[name], key) for name, key in sorted(keys.items())],
        "page": show.change_url("formations_formation", row.pk),
    }
    answer = TemplateResponse(request, "console/keys.html", context)
    add_never_cache_headers(answer)
    return answer


def _asked(
    model_admin: Any,
    request: HttpRequest,
    kind: type[Any],
    act: Callable[[Any], HttpResponse],
    *,
    title: str,
    explain: str,
) -> HttpResponse:
    """The form until it is right, then what `act` answers; what it refuses stands on the form."""
    form = kind(request.POST, request.FILES) if request.method == "POST" else kind()
    if request.method == "POST" and form.is_valid():
        try:
            return act(form)
        except DomainError as error:
            form.add_error(None, error.message)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "explain": explain,
        "form": form,
    }
    return TemplateResponse(request, "console/upload.html", context)
