"""Missions and what stands in their way, in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesRadioFilter, FieldTextFilter
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.mission_page import mission_context
from apps.console.readonly import ReadOnlyAdmin
from apps.console.reasons import actor_for, reason_action
from apps.console.watching import WatchedAdmin
from apps.core.ids import wire_id
from apps.missions.errors import CheckpointNotFound
from apps.missions.models import (
    EXECUTABLE,
    RUNNING,
    Barrier,
    BarrierKind,
    BarrierState,
    Mission,
    MissionStatus,
)
from apps.missions.services import (
    abort_mission,
    delete_mission,
    execute_mission,
    resume_checkpoint,
    resume_mission,
)

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

STATUS_LABELS = {
    "draft": "info",
    "scheduled": "info",
    "recurring": "info",
    "active": "primary",
    "paused": "warning",
    "completed": "success",
    "failed": "danger",
    "cancelled": "info",
}
STATE_LABELS = {
    "waiting": "info",
    "passed": "success",
    "failed": "danger",
    "reached": "warning",
    "resumed": "success",
    "started": "warning",
    "expired": "success",
}


def _missions(_row: Mission) -> str:
    return reverse("admin:missions_mission_changelist")


def _mission_of(row: Barrier) -> str:
    return show.change_url("missions_mission", row.mission_id)


@admin.register(Mission)
class MissionAdmin(WatchedAdmin):
    fragment = "console/mission_live.html"
    watches = "mission"
    list_display = (
        "name",
        "state",
        "workspace",
        "group",
        "execution_count",
        "score",
        "started_at",
        "finished_at",
        "elsewhere",
    )
    list_select_related = ("workspace",)
    list_filter = (
        ("status", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("group", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("name", "group__istartswith")
    id_search = ("pk", "user_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("name", "wire", "workspace", "group", "elsewhere")}),
        (
            "Course",
            {
                "fields": (
                    "execution_count", "home", "quality_threshold", "deadline", "sla", "end_date",
                    "wake_at", "looked_at",
                )
            },
        ),
        ("Document", {"fields": ("text", "shown_document", "shown_executed")}),
        (
            "Times",
            {"fields": ("user_link", "created_at", "started_at", "finished_at", "updated_at", "id")},
        ),
    )  # fmt: skip
    readonly_fields = (
        "wire", "state", "elsewhere", "text", "shown_document", "shown_executed", "user_link",
    )  # fmt: skip
    actions = ("execute", "resume", "abort", "remove")
    actions_detail = ("execute", "resume", "retry_failed", "abort", "remove")
    actions_of_the_living = ("abort",)

    def is_over(self, row: Mission) -> bool:
        ended = (MissionStatus.COMPLETED, MissionStatus.FAILED, MissionStatus.CANCELLED)
        return row.status in (*ended, MissionStatus.DRAFT)

    def is_offered(self, row: Mission, name: str) -> bool:
        if name == "execute":
            return row.status in EXECUTABLE
        if name in {"resume", "retry_failed"}:
            return row.status in {*RUNNING, MissionStatus.FAILED}
        return super().is_offered(row, name)

    def shown_live(self, request: HttpRequest, row: Mission) -> dict[str, Any]:
        may_approve = request.user.has_perm("missions.change_barrier")
        return mission_context(row) | {"may_approve": may_approve}

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        # A list shows no document: each may be of 256 KiB.
        heavy = ("document", "executed", "prompt")
        return rows.defer(*heavy) if match and match.url_name.endswith("changelist") else rows

    @display(description="Mission", ordering="id")
    def wire(self, row: Mission) -> SafeString:
        return show.mono(wire_id("mission", row.pk))

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Mission) -> str:
        return row.status

    @display(description="Score of 5")
    def score(self, row: Mission) -> str:
        score = (row.report or {}).get("avgScore")
        return show.NOTHING if score is None else f"{score:.2f}"

    @display(description="Belongs to it")
    def elsewhere(self, row: Mission) -> SafeString:
        return show.links(
            [
                (show.list_url("tasks_task", mission_id__exact=row.pk), "tasks"),
                (show.list_url("missions_barrier", mission__id__exact=row.pk), "barriers"),
                (show.list_url("tasks_schedule", subject_id__exact=row.pk), "schedule"),
                (show.list_url("events_event", subject_id__exact=row.pk), "events"),
            ]
        )

    @display(description="Prompt")
    def text(self, row: Mission) -> Any:
        return show.text_block(row.prompt)

    @display(description="What the next execution runs")
    def shown_document(self, row: Mission) -> Any:
        return show.json_block(row.document)

    @display(description="What the present one runs")
    def shown_executed(self, row: Mission) -> Any:
        return "the same" if row.executed == row.document else show.json_block(row.executed)

    @display(description="User")
    def user_link(self, row: Mission) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")

    @reason_action(
        "Execute",
        past="executed",
        icon="play_arrow",
        explain="A new execution begins: its tasks, its barriers and its own agents are made now.",
    )
    def execute(self, request: HttpRequest, row: Mission, reason: str) -> None:
        execute_mission(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Resume",
        past="resumed",
        icon="resume",
        explain="The present execution goes on. A checkpoint it waits at still has to be approved.",
    )
    def resume(self, request: HttpRequest, row: Mission, reason: str) -> None:
        resume_mission(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Resume, retry failed",
        past="resumed",
        icon="replay",
        explain="As resuming it; its failed tasks go back to the queue and count a retry each.",
    )
    def retry_failed(self, request: HttpRequest, row: Mission, reason: str) -> None:
        resume_mission(actor_for(request, row), row.pk, retry_failed=True, reason=reason)

    @reason_action(
        "Abort",
        past="aborted",
        danger=True,
        icon="cancel",
        explain="Every task of all its executions that has not ended is killed; its schedule goes.",
    )
    def abort(self, request: HttpRequest, row: Mission, reason: str) -> None:
        abort_mission(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Delete",
        past="deleted",
        danger=True,
        icon="delete",
        explain="It goes with the tasks of all its executions; those at work are stopped. For good.",
        leads_to=_missions,
    )
    def remove(self, request: HttpRequest, row: Mission, reason: str) -> None:
        delete_mission(actor_for(request, row), row.pk, reason=reason)


@admin.register(Barrier)
class BarrierAdmin(ReadOnlyAdmin):
    """Gates, checkpoints and delays of executions."""

    list_display = (
        "name",
        "kind",
        "shown_state",
        "mission",
        "group",
        "workspace",
        "since",
        "reason",
    )
    list_select_related = ("mission", "workspace")
    list_filter = (
        ("kind", ChoicesRadioFilter),
        ("state", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("mission", RowFilter),
        AgeFilter,
    )
    search_fields = ("name", "group__istartswith")
    id_search = ("pk", "mission_id", "user_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("name", "kind", "shown_state", "mission", "group", "workspace")}),
        ("Course", {"fields": ("since", "expires_at", "avg_score", "reason", "user_link")}),
        ("As written", {"fields": ("shown_spec", "id")}),
    )
    readonly_fields = ("shown_state", "user_link", "shown_spec")
    actions_detail = ("approve",)
    actions_of_the_living = ("approve",)

    def is_over(self, row: Barrier) -> bool:
        return row.kind != BarrierKind.CHECKPOINT or row.state != BarrierState.REACHED

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("mission__document", "mission__executed")

    @display(description="State", label=STATE_LABELS, ordering="state")
    def shown_state(self, row: Barrier) -> str:
        return row.state

    @display(description="Passed by")
    def user_link(self, row: Barrier) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")

    @display(description="Document")
    def shown_spec(self, row: Barrier) -> Any:
        return show.json_block(row.spec)

    @reason_action(
        "Approve checkpoint",
        past="approved",
        icon="check",
        explain="The mission goes on with what stands behind this checkpoint.",
        leads_to=_mission_of,
    )
    def approve(self, request: HttpRequest, row: Barrier, reason: str) -> None:
        if row.kind != BarrierKind.CHECKPOINT:
            raise CheckpointNotFound
        resume_checkpoint(actor_for(request, row), row.mission_id, row.name, reason=reason)
