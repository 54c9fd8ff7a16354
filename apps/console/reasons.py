"""Actions that ask an operator why, then call a service for each row.

    @reason_action("Revoke token", past="revoked", danger=True)
    def revoke(self, request: HttpRequest, row: ApiToken, reason: str) -> None: ...

The name goes into `actions` (many rows, from the list) and `actions_detail` (one row). Either way a
page lists what will be affected and wants a reason; only its POST acts. The method calls a service
with `actor_for(request, row)` (or `operator_caller(request)` above workspaces), which authorises,
writes the audit entry and publishes the event; a `DomainError` becomes a message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.console.operator import operator_actor
from apps.console.readonly import REASON_CAP
from apps.core.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import QuerySet

    from apps.core.actor import Actor

AT_ONCE = 50
log = logging.getLogger(__name__)


class ReasonForm(forms.Form):
    """Why, in the operator's words: kept in the audit log."""

    reason = forms.CharField(
        max_length=REASON_CAP,
        min_length=3,
        strip=True,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
        help_text=f"Kept in the audit log with your name. At most {REASON_CAP} characters.",
    )


def actor_for(request: HttpRequest, row: Any) -> Actor:
    """The operator in the workspace that `row` belongs to."""
    return operator_actor(request, row.workspace_id)


@dataclass(frozen=True, slots=True)
class Verb:
    """What a reason action does, in words. `past` finishes "3 runs …"."""

    name: str
    title: str
    past: str
    explain: str
    danger: bool
    leads_to: Callable[[Any], str] | None
    apply: Callable[[Any, HttpRequest, Any, str], Any]

    def page_after(self, row: Any) -> str:
        return self.leads_to(row) if self.leads_to else "../change/"


def reason_action(
    title: str,
    *,
    past: str,
    explain: str = "",
    danger: bool = False,
    icon: str = "edit",
    leads_to: Callable[[Any], str] | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Make `(self, request, row, reason)` an action of list and page; `leads_to`: the page after one row's."""

    def decorate(apply: Callable[[Any, HttpRequest, Any, str], Any]) -> Any:
        verb = Verb(apply.__name__, title, past, explain, danger, leads_to, apply)

        @wraps(apply)
        def view(
            self: Any,
            request: HttpRequest,
            queryset: QuerySet[Any] | None = None,
            *,
            object_id: str = "",
        ) -> HttpResponse:
            if not self.has_act_permission(request):
                raise PermissionDenied
            rows = _rows_named(self, request, queryset, object_id)
            form = ReasonForm(request.POST if "reason" in request.POST else None)
            if request.method == "POST" and form.is_valid():
                _apply_to_each(self, request, rows, verb, form.cleaned_data["reason"])
                there = verb.page_after(rows[0]) if object_id else request.get_full_path()
                return HttpResponseRedirect(there)
            return _reason_page(self, request, rows, verb, form)

        view.__name__ = apply.__name__
        return _as_action(view, verb, icon)

    return decorate


def _as_action(view: Callable[..., HttpResponse], verb: Verb, icon: str) -> Any:
    return action(
        description=verb.title,
        icon=icon,
        permissions=["act"],
        url_path=verb.name.replace("_", "-"),
        variant=ActionVariant.DANGER if verb.danger else ActionVariant.DEFAULT,
    )(view)


def _rows_named(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Any] | None, object_id: str
) -> Sequence[Any]:
    if queryset is not None:
        return list(queryset[:AT_ONCE])
    row = model_admin.get_object(request, object_id)
    if row is None:
        raise Http404
    return [row]


def _apply_to_each(
    model_admin: Any,
    request: HttpRequest,
    rows: Sequence[Any],
    verb: Verb,
    reason: str,
) -> None:
    done = 0
    for row in rows:
        try:
            verb.apply(model_admin, request, row, reason)
        except DomainError as error:
            messages.error(request, f"{row}: {error.message}")
        except Exception:
            log.exception("action %s failed on %s %s", verb.name, type(row).__name__, row.pk)
            messages.error(request, f"{row}: something went wrong; the server's log says what.")
        else:
            done += 1
    if done:
        name = model_admin.opts.verbose_name if done == 1 else model_admin.opts.verbose_name_plural
        messages.success(request, f"{done} {name} {verb.past}.")


def _reason_page(
    model_admin: Any,
    request: HttpRequest,
    rows: Sequence[Any],
    verb: Verb,
    form: ReasonForm,
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": None,  # with `opts` the skeleton draws the tabs of a change form
        "model_opts": model_admin.opts,
        "title": verb.title,
        "verb": verb,
        "rows": rows,
        "form": form,
        "at_once": AT_ONCE,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "bulk": ACTION_CHECKBOX_NAME in request.POST,
    }
    return TemplateResponse(request, "console/reason.html", context)
