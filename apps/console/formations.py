"""What the console shows of formations beyond their rows: what they spend, and what is in a version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Sum
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.views import ChangeList

from apps.console import show
from apps.console.counts import HOURS
from apps.formations.models import FormationStatus
from apps.runs.models import Run

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from apps.formations.models import Formation

MOST_FILES = 200
STATUS_LABELS = {
    "running": "success",
    "starting": "info",
    "restarting": "info",
    "stopping": "warning",
    "stopped": "warning",
    "crashed": "danger",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Of the last 24 hours; `cost` in micro-USD."""

    requests: int = 0
    tokens: int = 0
    cost: int = 0


def spent_by_home(home_ids: Collection[UUID]) -> dict[UUID, Spent]:
    """Home -> what its runs took since yesterday. One query, along `run_by_workspace`."""
    since = timezone.now() - timedelta(hours=HOURS)
    runs = Run.unscoped.filter(workspace_id__in=home_ids, created_at__gte=since).order_by()
    rows = runs.values_list("workspace_id").annotate(
        Count("pk"), Sum("tokens_in"), Sum("tokens_out"), Sum("cost_micros")
    )
    return {home: Spent(count, read + written, cost) for home, count, read, written, cost in rows}


class FormationList(ChangeList):
    """A page of formations, each with what it spent: one query for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        spent = spent_by_home([row.home_id for row in self.result_list])
        for row in self.result_list:
            row.spent = spent.get(row.home_id, Spent())


def spent_of(row: Formation) -> Spent:
    """As the list knows it, else asked now."""
    known = row.__dict__.get("spent")
    if known is None:
        found = spent_by_home([row.home_id])
        known = row.__dict__["spent"] = found.get(row.home_id, Spent())
    return known


def health_of(row: Formation) -> str:
    """`healthy`, `unhealthy`, or nothing while it begins."""
    if row.status in {FormationStatus.STARTING, FormationStatus.RESTARTING}:
        return show.NOTHING
    fine = row.status == FormationStatus.RUNNING and not row.error
    return "healthy" if fine else "unhealthy"


def file_list(document: Mapping[str, Any]) -> str | SafeString:
    """The bundle's files with their sizes, at most `MOST_FILES`."""
    files = document.get("files") or []
    if not files:
        return show.NOTHING
    shown = ((item["path"], f"{item['size']:,}") for item in files[:MOST_FILES])
    rows = format_html_join("", "<li>{} <span>{} bytes</span></li>", shown)
    more = f"{len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
    return format_html('<ul class="console-list">{}</ul>{}', rows, more)
