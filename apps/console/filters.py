"""Filters of the console's lists."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RadioFilter
from unfold.contrib.filters.forms import AutocompleteDropdownForm

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

_AGES = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_NAMES = {"1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days"}


def uuid_floor(moment: datetime) -> UUID:
    """The smallest UUIDv7 of `moment`: rows made since then are a range of the primary key."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0b10 << 62))


class AgeFilter(RadioFilter):
    """How long ago the row was made, asked of its time-ordered primary key: no further index."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(_NAMES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        age = _AGES.get(self.value() or "")
        if age is None:
            return queryset
        return queryset.filter(pk__gte=uuid_floor(timezone.now() - age))


class _RowForm(AutocompleteDropdownForm):
    """unfold's form asks `objects`, which for a tenant's table answers nobody; this one does not."""

    def __init__(self, name: str, label: str, field: Any, model_admin: Any, **kwargs: Any) -> None:
        forms.Form.__init__(self, data=kwargs.get("data"))
        widget = AutocompleteSelect(
            field, model_admin.admin_site, attrs={"class": "unfold-filter-autocomplete"}
        )
        everybody = field.remote_field.model._base_manager  # noqa: SLF001  (public in all but name)
        self.fields[name] = forms.ModelChoiceField(
            label=label,
            required=False,
            queryset=everybody.all(),
            widget=widget,
        )


class RowFilter(AutocompleteSelectFilter):
    """Rows that belong to one other row, found by typing: never a list of all of them."""

    form_class = _RowForm
