"""Runs, their journal and budgets in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import (
    ChoicesRadioFilter,
    FieldTextFilter,
)
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin, ReadOnlyInline
from apps.console.reasons import actor_for, reason_action
from apps.core.ids import wire_id
from apps.runs.models import TERMINAL, Budget, Run, Step
from apps.runs.services import cancel_run

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

STATUS_LABELS = {
    "queued": "info",
    "running": "primary",
    "waiting": "warning",
    "succeeded": "success",
    "failed": "danger",
    "cancelled": "info",
}


def seconds_of(row: Run | Step) -> str:
    if row.started_at is None or row.finished_at is None:
        return show.NOTHING
    return show.duration((row.finished_at - row.started_at).total_seconds())


class _Spent:
    """The columns that say what a run or a step took."""

    @display(description="Tokens in / out")
    def tokens(self, row: Run | Step) -> str:
        return f"{row.tokens_in:,} / {row.tokens_out:,}"

    @display(description="Cost", ordering="cost_micros")
    def cost(self, row: Run | Step) -> str:
        return show.usd(row.cost_micros)

    @display(description="Took")
    def took(self, row: Run | Step) -> str:
        return seconds_of(row)


class StepInline(_Spent, ReadOnlyInline):
    model = Step
    fk_name = "run"
    verbose_name_plural = "journal"
    fields = ("number", "kind", "name", "status", "tokens", "cost", "took")
    ordering = ("index",)

    @display(description="Step")
    def number(self, row: Step) -> str | SafeString:
        return show.row_link(row, f"step {row.index}")

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("input", "output")


@admin.register(Run)
class RunAdmin(_Spent, ReadOnlyAdmin):
    list_display = (
        "wire",
        "kind",
        "state",
        "workspace",
        "agent",
        "model",
        "steps",
        "tokens",
        "cost",
        "took",
        "created_at",
    )
    list_select_related = ("workspace", "agent")
    list_filter = (
        ("status", ChoicesRadioFilter),
        ("kind", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("agent", RowFilter),
        ("model", FieldTextFilter),
        ("error_code", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("error_code__exact", "request_id__exact", "model__istartswith")
    search_help_text = (
        "An id (of the run, its session, subject or user), a request id, model or error code"
    )
    id_search = ("pk", "session_id", "subject_id", "user_id", "workspace_id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "wire",
                    "kind",
                    "state",
                    "workspace",
                    "agent",
                    "session_link",
                    "elsewhere",
                )
            },
        ),
        ("Spent", {"fields": ("model", "tokens", "cost", "steps", "tool_calls", "reserved")}),
        (
            "Error",
            {"fields": ("error_code", "error_message", "cancel_requested_at", "cancel_reason")},
        ),
        (
            "Held by",
            {"fields": ("lease_owner", "lease_until", "attempt", "lost_leases", "waiting_link")},
        ),
        (
            "Asked for",
            {"fields": ("shown_input", "shown_limits", "user_link", "token_link", "request_id")},
        ),
        ("Times", {"fields": ("created_at", "started_at", "finished_at", "took", "id")}),
    )
    readonly_fields = (
        "wire", "state", "session_link", "elsewhere", "tokens", "cost", "reserved", "took",
        "shown_input", "shown_limits", "user_link", "token_link", "waiting_link",
    )  # fmt: skip
    inlines = (StepInline,)
    actions = ("cancel",)
    actions_detail = ("cancel",)
    actions_of_the_living = ("cancel",)

    def is_over(self, row: Run) -> bool:
        return row.status in TERMINAL

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        # A list shows no input: it may hold a whole conversation.
        return rows.defer("input") if match and match.url_name.endswith("changelist") else rows

    @display(description="Run", ordering="id")
    def wire(self, row: Run) -> SafeString:
        return show.mono(wire_id("run", row.pk))

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Run) -> str:
        return row.status

    @display(description="Session")
    def session_link(self, row: Run) -> str | SafeString:
        return show.id_link("conversations_session", row.session_id, "ses")

    @display(description="Belongs to it")
    def elsewhere(self, row: Run) -> SafeString:
        return show.links(
            [
                (show.list_url("runs_step", run__id__exact=row.pk), "steps"),
                (show.list_url("events_event", run_id__exact=row.pk), "events"),
                (show.list_url("approvals_approval", subject_id__exact=row.pk), "approvals"),
            ]
        )

    @display(description="Promised to calls in flight")
    def reserved(self, row: Run) -> str:
        return f"{row.reserved_tokens:,} tokens, {show.usd(row.reserved_cost_micros)}"

    @display(description="Input")
    def shown_input(self, row: Run) -> Any:
        return show.json_block(row.input)

    @display(description="Limits")
    def shown_limits(self, row: Run) -> Any:
        return show.json_block(row.limits)

    @display(description="User")
    def user_link(self, row: Run) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")

    @display(description="Token")
    def token_link(self, row: Run) -> str | SafeString:
        return show.id_link("workspaces_apitoken", row.token_id, "tok")

    @display(description="Waits for approval")
    def waiting_link(self, row: Run) -> str | SafeString:
        return show.id_link("approvals_approval", row.waiting_for)

    @reason_action(
        "Cancel run",
        past="told to stop",
        danger=True,
        icon="cancel",
        explain="A queued or waiting run ends now; a running one within one step. What it wrote stays.",
    )
    def cancel(self, request: HttpRequest, row: Run, reason: str) -> None:
        cancel_run(actor_for(request, row), row.pk, reason=reason)


@admin.register(Step)
class StepAdmin(_Spent, ReadOnlyAdmin):
    list_display = (
        "index",
        "kind",
        "name",
        "status",
        "run",
        "workspace",
        "tokens",
        "cost",
        "started_at",
    )
    list_select_related = ("run", "workspace")
    list_filter = (
        ("kind", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("run", RowFilter),
        ("name", FieldTextFilter),
        ("status", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("name__istartswith", "call_id__exact")
    id_search = ("pk", "run_id", "workspace_id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "run",
                    "index",
                    "attempt",
                    "kind",
                    "name",
                    "call_id",
                    "status",
                    "workspace",
                )
            },
        ),
        ("Journal", {"fields": ("shown_input", "shown_output")}),
        ("Spent", {"fields": ("tokens", "cost", "started_at", "finished_at", "took", "id")}),
    )
    readonly_fields = ("tokens", "cost", "took", "shown_input", "shown_output")

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        return (
            rows.defer("input", "output", "run__input")
            if match and match.url_name.endswith("changelist")
            else rows
        )

    @display(description="Input")
    def shown_input(self, row: Step) -> Any:
        return show.json_block(row.input)

    @display(description="Output")
    def shown_output(self, row: Step) -> Any:
        return show.json_block(row.output)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    list_display = (
        "subject_type",
        "subject_id",
        "workspace",
        "tokens",
        "cost",
        "calls",
        "updated_at",
    )
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), ("subject_type", FieldTextFilter))
    search_fields = ("subject_type__exact",)
    id_search = ("pk", "subject_id", "workspace_id")
    fields = (
        "subject_type",
        "subject_id",
        "workspace",
        "tokens",
        "cost",
        "calls",
        "updated_at",
        "id",
    )
    readonly_fields = ("tokens", "cost", "calls")

    @display(description="Tokens spent + promised / limit")
    def tokens(self, row: Budget) -> str:
        limit = f"{row.limit_tokens:,}" if row.limit_tokens is not None else "no limit"
        return f"{row.spent_tokens:,} + {row.reserved_tokens:,} / {limit}"

    @display(description="Cost spent + promised / limit")
    def cost(self, row: Budget) -> str:
        limit = show.usd(row.limit_cost_micros) if row.limit_cost_micros is not None else "no limit"
        return f"{show.usd(row.spent_cost_micros)} + {show.usd(row.reserved_cost_micros)} / {limit}"

    @display(description="Tool calls spent + promised / limit")
    def calls(self, row: Budget) -> str:
        limit = f"{row.limit_tool_calls:,}" if row.limit_tool_calls is not None else "no limit"
        return f"{row.spent_tool_calls:,} + {row.reserved_tool_calls:,} / {limit}"
