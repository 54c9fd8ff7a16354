"""Finding rows by what an operator pastes: a wire id, a UUID, an e-mail, a slug."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from unfold.dataclasses import SearchResult

from apps.console import show
from apps.core.errors import NotFound
from apps.core.ids import from_base62, parse_session_id

if TYPE_CHECKING:
    from django.http import HttpRequest

PER_MODEL = 5
_WIRE = re.compile(r"[a-z]{2,8}_([0-9A-Za-z]{16,22})")
_SEARCHED = (
    "workspaces.workspace",
    "accounts.user",
    "conversations.session",
    "tasks.task",
    "missions.mission",
    "runs.run",
    "formations.formation",
    "formations.agent",
    "workspaces.apitoken",
    "approvals.approval",
)


def id_in(term: str) -> UUID | None:
    """The id spelt by `term`: `ws_…`, `ses_…_…`, `run_…`, or a UUID; None for other text."""
    try:
        if term.startswith("ses_") and term.count("_") == 2:
            return parse_session_id(term)[1]
        if match := _WIRE.fullmatch(term):
            return from_base62(match[1])
        if len(term) in {32, 36}:
            return UUID(term)
    except (ValueError, NotFound):
        pass
    return None


def find_rows(request: HttpRequest, _lowered: str = "") -> list[SearchResult]:
    """The command palette's search: at most 5 rows of each kind this operator may see.

    Reads the term from the request: the palette lowers it, and ids are case-sensitive.
    """
    term = request.GET.get("s", "").strip()[:200]
    if len(term) < 2:
        return []
    return [found for label in _SEARCHED for found in _rows_of(request, label, term)]


def _rows_of(request: HttpRequest, label: str, term: str) -> list[SearchResult]:
    model = apps.get_model(label)
    if not admin.site.is_registered(model):
        return []
    model_admin = admin.site.get_model_admin(model)
    if not model_admin.has_view_permission(request):
        return []
    rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    kind = str(model_admin.opts.verbose_name)
    name = label.replace(".", "_")
    return [
        SearchResult(
            title=str(row), description=kind, link=show.change_url(name, row.pk), icon="data_object"
        )
        for row in rows.order_by("-pk")[:PER_MODEL]
    ]


def searched_by_id(rows: Any, term: str, fields: tuple[str, ...]) -> Any:
    """`rows` whose `fields` hold the id spelt by `term`, or None when it spells none."""
    from django.db.models import Q

    value = id_in(term.strip())
    if value is None:
        return None
    wanted = Q()
    for field in fields:
        wanted |= Q(**{field: value})
    return rows.filter(wanted)
