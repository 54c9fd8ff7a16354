"""Pages that change under the reader's eyes.

A page shows a fragment, rendered on the server; `static/console/watch.js` opens the workspace's socket
(`live.WatchSocket`) and, when it hears of something on the page, asks for the fragment again and puts
only what differs into place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.enums import ActionVariant

from apps.console.live import MAY_WATCH
from apps.console.readonly import ReadOnlyAdmin

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


def watch(
    request: HttpRequest, workspace_id: UUID, fragment: str, fragment_url: str, **only: UUID
) -> dict[str, Any]:
    """What `console/watched.html` needs. `task` or `mission`: only what concerns that one is news."""
    return {
        "workspace_id": workspace_id,
        "fragment": fragment,
        "fragment_url": fragment_url,
        "may_watch": request.user.has_perms(MAY_WATCH),
        "only": only,
    }


@dataclass(frozen=True, slots=True)
class Offer:
    """An action's button."""

    title: str
    url: str
    danger: bool


class WatchedAdmin(ReadOnlyAdmin):
    """A row's page with a live fragment above its fields.

    What may be done with the row stands in the fragment, since it changes with the row.
    """

    change_form_outer_before_template = "console/watched.html"

    fragment = ""  # the template
    watches = ""  # what the row is: task or mission

    def shown_live(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """The fragment's context."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_live"
        view = self.admin_site.admin_view(self.live)
        return [path("<uuid:object_id>/live/", view, name=name), *super().get_urls()]

    def live(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The fragment alone."""
        row = self._row(request, object_id)
        return TemplateResponse(request, self.fragment, self._shown(request, row))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = extra_context or {}
        if row is not None and self.has_view_permission(request, row):
            context |= {**self._shown(request, row), "watch": self._watch(request, row)}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        if "watch" in context and isinstance(answer, TemplateResponse) and answer.context_data:
            answer.context_data.pop("actions_detail", None)  # else they stand there twice
        return answer

    def _shown(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {**self.shown_live(request, row), "offers": self._offers(request, row)}

    def _offers(self, request: HttpRequest, row: Any) -> list[Offer]:
        return [
            Offer(
                str(action.description),
                reverse(f"admin:{action.action_name}", args=[row.pk]),
                action.variant == ActionVariant.DANGER,
            )
            for action in self.get_actions_detail(request, str(row.pk))
        ]

    def _watch(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_live"
        only = {self.watches: row.pk}
        return watch(request, row.workspace_id, self.fragment, reverse(name, args=[row.pk]), **only)

    def _row(self, request: HttpRequest, object_id: UUID) -> Model:
        row: Model | None = self.get_object(request, str(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        return row
