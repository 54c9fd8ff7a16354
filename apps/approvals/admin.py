"""What waits for a human, in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesRadioFilter
from unfold.decorators import display

from apps.approvals.models import Approval, ApprovalKind
from apps.approvals.services import decide
from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.console.reasons import actor_for, reason_action

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

STATUS_LABELS = {
    "pending": "warning",
    "approved": "success",
    "answered": "success",
    "denied": "danger",
    "withdrawn": "info",
    "expired": "info",
}


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    list_display = (
        "asked",
        "kind",
        "state",
        "workspace",
        "session_link",
        "decided_by",
        "created_at",
    )
    list_select_related = ("workspace", "decided_by")
    list_filter = (
        ("status", ChoicesRadioFilter),
        ("kind", ChoicesRadioFilter),
        ("workspace", RowFilter),
        AgeFilter,
    )
    search_fields = ("action",)
    id_search = ("pk", "session_id", "subject_id", "workspace_id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "action",
                    "reason",
                    "kind",
                    "state",
                    "workspace",
                    "shown_context",
                    "shown_options",
                )
            },
        ),
        ("About", {"fields": ("session_link", "subject")}),
        ("Decision", {"fields": ("decided_by", "decided_at", "note", "shown_answer", "used_at")}),
        ("Times", {"fields": ("requested_by", "created_at", "expires_at", "id")}),
    )
    readonly_fields = (
        "state",
        "session_link",
        "subject",
        "shown_context",
        "shown_options",
        "shown_answer",
    )
    actions = ("approve", "reject")
    actions_detail = ("approve", "reject")

    @display(description="Asked for")
    def asked(self, row: Approval) -> str:
        return row.action[:80]

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Approval) -> str:
        return row.status

    @display(description="Session")
    def session_link(self, row: Approval) -> str | SafeString:
        return show.id_link("conversations_session", row.session_id, "ses")

    @display(description="Subject")
    def subject(self, row: Approval) -> str | SafeString:
        if row.subject_type == "run":
            return show.id_link("runs_run", row.subject_id, "run")
        return f"{row.subject_type} {row.subject_id or ''}".strip() or show.NOTHING

    @display(description="Context")
    def shown_context(self, row: Approval) -> Any:
        return show.json_block(row.context)

    @display(description="Options")
    def shown_options(self, row: Approval) -> Any:
        return show.json_block(row.options)

    @display(description="Answer")
    def shown_answer(self, row: Approval) -> Any:
        return show.json_block(row.answer)

    @reason_action(
        "Approve",
        past="approved",
        icon="check",
        explain="The waiting run goes on with exactly this call. For a question, what you write is the answer.",
    )
    def approve(self, request: HttpRequest, row: Approval, reason: str) -> None:
        answer = reason if row.kind == ApprovalKind.QUESTION else None
        decide(actor_for(request, row), row.pk, decision="approve", note=reason, answer=answer)

    @reason_action(
        "Reject", past="rejected", danger=True, icon="close", explain="The run is told no."
    )
    def reject(self, request: HttpRequest, row: Approval, reason: str) -> None:
        decide(actor_for(request, row), row.pk, decision="reject", note=reason)
