"""How the console writes things: money, ids, counts and links. All output is escaped."""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode

from apps.core.ids import session_wire_id, wire_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from django.db.models import Model, QuerySet
    from django.utils.safestring import SafeString

COUNT_CAP = 1_000
TEXT_CAP = 20_000
NOTHING = "–"  # noqa: RUF001  (what an empty cell shows)


def once(cell: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Ask for a cell's value once per row: a detail page asks five times."""
    kept = f"_shown_{cell.__name__}"

    @wraps(cell)
    def shown(self: Any, row: Any) -> Any:
        if kept not in row.__dict__:
            row.__dict__[kept] = cell(self, row)
        return row.__dict__[kept]

    return shown


def usd(micros: int | None) -> str:
    """`$1.23`, `$0.0042` for small sums; micro-USD in."""
    amount = (micros or 0) / 1_000_000
    return f"${amount:,.2f}" if amount == 0 or amount >= 1 else f"${amount:.4f}"


def compact(number: int | None) -> str:
    """`950`, `12.3k`, `4.5M`."""
    value = float(number or 0)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """`850 ms`, `12 s`, `5 min`, `3 h`, `2 d`."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{max(seconds, 0) * 1000:.0f} ms"


def capped_count(rows: QuerySet[Any]) -> str:
    """The count, or `1,000+`: never more than that many rows are looked at."""
    count = rows.order_by().values("pk")[: COUNT_CAP + 1].count()
    return f"{COUNT_CAP:,}+" if count > COUNT_CAP else f"{count:,}"


def json_block(value: Any) -> str | SafeString:
    """JSON as an indented block, cut after 20,000 characters."""
    if value in (None, "", [], {}):
        return NOTHING
    return text_block(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def text_block(text: str) -> str | SafeString:
    """Text as it stands, cut after 20,000 characters."""
    if not text:
        return NOTHING
    rest = len(text) - TEXT_CAP
    more = f"\n… {rest:,} more characters" if rest > 0 else ""
    return format_html('<pre class="console-block">{}{}</pre>', text[:TEXT_CAP], more)


def mono(text: object) -> SafeString:
    return format_html('<span class="console-mono">{}</span>', text)


def change_url(model: str, pk: object) -> str:
    """The page of one row; `model` is `app_model`."""
    return reverse(f"admin:{model}_change", args=[pk])


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', url, text)


def row_link(row: Model | None, text: object = None) -> str | SafeString:
    """A link to the row's page in the console."""
    if row is None:
        return NOTHING
    name = f"{row._meta.app_label}_{row._meta.model_name}"
    try:
        return link(change_url(name, row.pk), text or row)
    except NoReverseMatch:
        return str(text or row)


def id_link(model: str, pk: UUID | None, prefix: str = "") -> str | SafeString:
    """A link to a row known only by its id."""
    if pk is None:
        return NOTHING
    return link(change_url(model, pk), mono(wire_id(prefix, pk) if prefix else pk))


def list_url(model: str, **filters: object) -> str:
    query = urlencode({name: str(value) for name, value in filters.items()})
    return f"{reverse(f'admin:{model}_changelist')}?{query}"


def links(items: Iterable[tuple[str, str]]) -> SafeString:
    """`(url, text)` pairs on one line."""
    body = format_html_join("", '<a class="text-link" href="{}">{}</a>', items)
    return format_html('<span class="console-links">{}</span>', body)


def session_name(workspace_id: UUID, session_id: UUID) -> str:
    return session_wire_id(workspace_id, session_id)
