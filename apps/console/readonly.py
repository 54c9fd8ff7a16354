"""The base of every list and detail page: reading only.

What an operator may change is an action that asks for a reason and calls a service
(`reasons.reason_action`), so that it is authorised, audited and published like any other change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.db import connections
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin, TabularInline

from apps.console.find import searched_by_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from unfold.dataclasses import UnfoldAction

    _Pages = Paginator[Any]
else:
    _Pages = Paginator  # generic to type checkers only

EXACT_UP_TO = 10_000
REASON_CAP = 500


class BoundedPaginator(_Pages):
    """Counts exactly up to 10,000 rows; a longer list is estimated, so that its page stays fast.

    Unfiltered: PostgreSQL's own estimate of the table. Filtered: the first 10,000 rows are paged.
    """

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        counted: int = rows.order_by().values("pk")[: EXACT_UP_TO + 1].count()
        if counted <= EXACT_UP_TO:
            return counted
        return EXACT_UP_TO if rows.query.where else max(_estimate(rows), counted)


def _estimate(rows: QuerySet[Any]) -> int:
    with connections[rows.db].cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [rows.model._meta.db_table],
        )
        return int(cursor.fetchone()[0])


class _Unchangeable:
    """Refuses to add, change and delete, whatever permissions the operator holds."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(_Unchangeable, ModelAdmin):
    """Lists and shows. `id_search` names the id columns that an id typed into the search may hit."""

    id_search: tuple[str, ...] = ("pk",)
    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-pk",)
    list_filter_submit = True
    actions_on_bottom = False
    list_disable_select_all = True
    actions_of_the_living: tuple[str, ...] = ()
    show_facets = ShowFacets.NEVER  # facets would count every row of every choice
    search_help_text = "An id in either spelling, or text"

    def has_act_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """May this operator use the page's actions? Django's `change` permission says so."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[UnfoldAction]:
        """Without the buttons that make no sense any more."""
        found: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if self.actions_of_the_living else None
        if row is None:
            return found
        start = len(f"{self.opts.app_label}_{self.opts.model_name}_")
        return [action for action in found if self.is_offered(row, action.action_name[start:])]

    def is_offered(self, row: Any, name: str) -> bool:
        """Whether the action `name` makes sense on this row's page."""
        return name not in self.actions_of_the_living or not self.is_over(row)

    def is_over(self, row: Any) -> bool:
        """Whether `actions_of_the_living` are hidden on this row's page."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found = searched_by_id(queryset, search_term, self.id_search)
        if found is not None:
            return found, False
        answer: tuple[QuerySet[Any], bool] = super().get_search_results(
            request, queryset, search_term
        )
        return answer


class ReadOnlyInline(_Unchangeable, TabularInline):
    """A tab with the rows that belong to this one, paged."""

    extra = 0
    max_num = 0
    can_delete = False
    tab = True
    per_page = 50
    show_change_link = True
    hide_title = True

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """All of them: Django asks the form for the rest, and no form has `created_at`."""
        return tuple(self.fields or ())
