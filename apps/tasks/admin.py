"""Tasks, judgements and schedules in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils import timezone
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    ChoicesRadioFilter,
    FieldTextFilter,
)
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.console.reasons import actor_for, reason_action
from apps.console.transcript import transcript_of
from apps.console.watching import WatchedAdmin
from apps.core.ids import wire_id
from apps.tasks.models import (
    TERMINAL,
    Assessment,
    Schedule,
    ScheduledPrompt,
    Task,
    TaskStatus,
)
from apps.tasks.services import (
    force_fail_task,
    kill_task,
    queue_task,
    reassess_task,
    retry_task,
    switch_schedule,
)

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

STATUS_LABELS = {
    "draft": "info",
    "pending": "info",
    "awaiting_approval": "warning",
    "assigned": "primary",
    "in_progress": "primary",
    "review": "primary",
    "done": "success",
    "failed": "danger",
}


@admin.register(Task)
class TaskAdmin(WatchedAdmin):
    fragment = "console/task_live.html"
    watches = "task"
    list_display = (
        "title",
        "state",
        "workspace",
        "assign_to",
        "belongs_to",
        "priority",
        "tries",
        "age",
        "elsewhere",
    )
    list_select_related = ("workspace",)
    list_filter = (
        ("status", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("assign_to", FieldTextFilter),
        ("group", FieldTextFilter),
        ("ready", BooleanRadioFilter),
        AgeFilter,
    )
    search_fields = ("title", "group__istartswith", "assign_to__iexact")
    search_help_text = "An id (of the task, its mission, run or user), a title, a group or an agent"
    id_search = ("pk", "mission_id", "run_id", "approval_id", "user_id", "workspace_id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "title",
                    "wire",
                    "workspace",
                    "assign_to",
                    "belongs_to",
                    "elsewhere",
                )
            },
        ),
        ("Work", {"fields": ("text", "first_text", "shown_expectations", "shown_metrics")}),
        (
            "Course",
            {
                "fields": (
                    "priority", "ready", "held_by", "tries", "fix_attempts", "question_rounds",
                    "revision_count", "deadline", "sla", "allowed_time", "side_effects",
                    "shown_retry_policy", "approval_link",
                )
            },
        ),
        (
            "Times",
            {"fields": ("user_link", "created_at", "started_at", "finished_at", "updated_at", "id")},
        ),
    )  # fmt: skip
    readonly_fields = (
        "wire", "state", "belongs_to", "elsewhere", "text", "first_text", "shown_expectations",
        "shown_metrics", "tries", "allowed_time", "shown_retry_policy", "approval_link", "user_link",
    )  # fmt: skip
    actions = ("retry", "reassess", "kill", "force_fail", "queue")
    actions_detail = ("retry", "reassess", "queue", "kill", "force_fail")
    actions_of_the_living = ("kill", "force_fail")

    def is_over(self, row: Task) -> bool:
        return row.status in TERMINAL

    def is_offered(self, row: Task, name: str) -> bool:
        if name == "retry":
            return row.status == TaskStatus.FAILED
        if name == "reassess":
            return row.status in TERMINAL and bool(row.expectations or row.metrics)
        if name == "queue":
            return row.status == TaskStatus.DRAFT
        return super().is_offered(row, name)

    def shown_live(self, request: HttpRequest, row: Task) -> dict[str, Any]:
        return transcript_of(row)

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        heavy = ("description", "original_description", "result", "outcomes", "expectations")
        # A list shows no text: each may be of 100,000 characters.
        return rows.defer(*heavy) if match and match.url_name.endswith("changelist") else rows

    @display(description="Task", ordering="id")
    def wire(self, row: Task) -> SafeString:
        return show.mono(wire_id("task", row.pk))

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Task) -> str:
        return row.status

    @display(description="Group", ordering="group")
    def belongs_to(self, row: Task) -> str | SafeString:
        if row.mission_id is None:
            return row.group or show.NOTHING
        return show.link(
            show.change_url("missions_mission", row.mission_id), row.group or "mission"
        )

    @display(description="Retries", ordering="retries")
    def tries(self, row: Task) -> str:
        return f"{row.retries} of {row.max_retries}"

    @display(description="Age", ordering="created_at")
    def age(self, row: Task) -> str:
        return show.duration((timezone.now() - row.created_at).total_seconds())

    @display(description="Belongs to it")
    def elsewhere(self, row: Task) -> SafeString:
        found = [
            (show.list_url("runs_run", subject_id__exact=row.pk), "runs"),
            (show.list_url("events_event", subject_id__exact=row.pk), "events"),
            (show.list_url("tasks_assessment", task__id__exact=row.pk), "judgements"),
        ]
        if row.run_id is not None:
            found.insert(0, (show.change_url("runs_run", row.run_id), "last run"))
        return show.links(found)

    @display(description="Description")
    def text(self, row: Task) -> Any:
        return show.text_block(row.description)

    @display(description="As first asked for")
    def first_text(self, row: Task) -> Any:
        return show.text_block(row.original_description)

    @display(description="Expectations")
    def shown_expectations(self, row: Task) -> Any:
        return show.json_block(row.expectations)

    @display(description="Metrics")
    def shown_metrics(self, row: Task) -> Any:
        return show.json_block(row.metrics)

    @display(description="Retry policy")
    def shown_retry_policy(self, row: Task) -> Any:
        return show.json_block(row.retry_policy)

    @display(description="Allowed time")
    def allowed_time(self, row: Task) -> str:
        if row.max_duration is None:
            return "the workspace's"
        return show.duration(row.max_duration / 1000) if row.max_duration else "no limit"

    @display(description="Waits for approval")
    def approval_link(self, row: Task) -> str | SafeString:
        return show.id_link("approvals_approval", row.approval_id)

    @display(description="User")
    def user_link(self, row: Task) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")

    @reason_action(
        "Retry",
        past="queued again",
        icon="replay",
        explain="A failed task goes back to the queue with its first description; it counts a retry.",
    )
    def retry(self, request: HttpRequest, row: Task, reason: str) -> None:
        retry_task(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Reassess",
        past="being judged again",
        icon="gavel",
        explain="The result is judged anew. A failed task that passes is done; a done one may fail.",
    )
    def reassess(self, request: HttpRequest, row: Task, reason: str) -> None:
        reassess_task(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Kill",
        past="killed",
        danger=True,
        icon="cancel",
        explain="It is failed at once, its run stops within a step, and it is not tried again.",
    )
    def kill(self, request: HttpRequest, row: Task, reason: str) -> None:
        kill_task(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Give up",
        past="given up",
        danger=True,
        icon="flag",
        explain="For what can come to no end by itself: a deadlock, a missed deadline. As killing it.",
    )
    def force_fail(self, request: HttpRequest, row: Task, reason: str) -> None:
        force_fail_task(actor_for(request, row), row.pk, reason=reason)

    @reason_action(
        "Queue", past="queued", icon="queue", explain="A draft becomes a task that may start."
    )
    def queue(self, request: HttpRequest, row: Task, reason: str) -> None:
        queue_task(actor_for(request, row), row.pk, reason=reason)


@admin.register(Assessment)
class AssessmentAdmin(ReadOnlyAdmin):
    list_display = (
        "task_title",
        "number",
        "verdict",
        "score",
        "trigger",
        "workspace",
        "created_at",
    )
    list_select_related = ("task", "workspace")
    list_filter = (
        ("passed", BooleanRadioFilter),
        ("trigger", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("task", RowFilter),
        AgeFilter,
    )
    search_fields = ("task__title",)
    id_search = ("pk", "task_id", "run_id", "workspace_id")
    fieldsets = (
        (
            None,
            {"fields": ("task", "number", "verdict", "score", "trigger", "workspace", "run_link")},
        ),
        ("Why", {"fields": ("text", "shown_scores", "shown_checks", "shown_metrics")}),
        ("Times", {"fields": ("created_at", "id")}),
    )
    readonly_fields = (
        "verdict", "score", "run_link", "text", "shown_scores", "shown_checks", "shown_metrics",
    )  # fmt: skip

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        if not (match and match.url_name.endswith("changelist")):
            return rows
        return rows.only(
            "number", "passed", "global_score", "trigger", "created_at", "task__title",
            "workspace__name", "workspace__slug",
        )  # fmt: skip

    @display(description="Task", ordering="task__title")
    def task_title(self, row: Assessment) -> str:
        return str(row.task)

    @display(description="Verdict", label={"passed": "success", "failed": "danger"})
    def verdict(self, row: Assessment) -> str:
        return "passed" if row.passed else "failed"

    @display(description="Score of 5", ordering="global_score")
    def score(self, row: Assessment) -> str:
        return show.NOTHING if row.global_score is None else f"{row.global_score:.2f}"

    @display(description="Run")
    def run_link(self, row: Assessment) -> str | SafeString:
        return show.id_link("runs_run", row.run_id, "run")

    @display(description="Review")
    def text(self, row: Assessment) -> Any:
        return show.text_block(row.review)

    @display(description="Scores")
    def shown_scores(self, row: Assessment) -> Any:
        return show.json_block(row.scores)

    @display(description="Checks")
    def shown_checks(self, row: Assessment) -> Any:
        return show.json_block(row.checks)

    @display(description="Metrics")
    def shown_metrics(self, row: Assessment) -> Any:
        return show.json_block(row.metrics)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = (
        "expression",
        "zone",
        "state",
        "subject",
        "workspace",
        "next_run_at",
        "last_run_at",
        "last_error",
    )
    list_select_related = ("workspace",)
    list_filter = (
        ("enabled", BooleanRadioFilter),
        ("recurring", BooleanRadioFilter),
        ("workspace", RowFilter),
        AgeFilter,
    )
    search_fields = ("expression__istartswith",)
    id_search = ("pk", "subject_id", "user_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("expression", "zone", "state", "recurring", "subject", "workspace")}),
        ("Runs", {"fields": ("next_run_at", "last_run_at", "last_error", "end_date")}),
        ("Times", {"fields": ("created_at", "updated_at", "id")}),
    )
    readonly_fields = ("state", "subject")
    actions = ("enable", "disable")
    actions_detail = ("enable", "disable")
    actions_of_the_living = ("disable",)

    def is_over(self, row: Schedule) -> bool:
        return not row.enabled

    def is_offered(self, row: Schedule, name: str) -> bool:
        return not row.enabled if name == "enable" else super().is_offered(row, name)

    @display(description="State", label={"on": "success", "off": "info"}, ordering="enabled")
    def state(self, row: Schedule) -> str:
        return "on" if row.enabled else "off"

    @display(description="For")
    def subject(self, row: Schedule) -> str | SafeString:
        if row.subject_type == "prompt":
            page = show.change_url("tasks_scheduledprompt", row.subject_id)
            return show.link(page, "job")
        if row.subject_type != "mission":
            return f"{row.subject_type} {row.subject_id}"
        return show.link(show.change_url("missions_mission", row.subject_id), "mission")

    @reason_action(
        "Enable",
        past="enabled",
        icon="play_arrow",
        explain="It goes on with its next time; what was missed meanwhile is not made up for.",
    )
    def enable(self, request: HttpRequest, row: Schedule, reason: str) -> None:
        switch_schedule(actor_for(request, row), row.pk, enabled=True, reason=reason)

    @reason_action("Disable", past="disabled", icon="pause", danger=True)
    def disable(self, request: HttpRequest, row: Schedule, reason: str) -> None:
        switch_schedule(actor_for(request, row), row.pk, enabled=False, reason=reason)


@admin.register(ScheduledPrompt)
class ScheduledPromptAdmin(ReadOnlyAdmin):
    """The jobs of formations' users. Their schedules have a page of their own, to switch them."""

    list_display = (
        "title",
        "workspace",
        "end_user",
        "last_run_at",
        "outcome",
        "total_runs",
        "total_failures",
        "elsewhere",
    )
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), ("end_user", FieldTextFilter), AgeFilter)
    search_fields = ("title__istartswith", "end_user__istartswith")
    id_search = ("pk", "last_run_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("title", "workspace", "end_user", "text", "elsewhere")}),
        (
            "Turns",
            {
                "fields": (
                    "last_run",
                    "outcome",
                    "last_run_at",
                    "last_failure",
                    "total_runs",
                    "total_failures",
                    "consecutive_failures",
                )
            },
        ),
        ("Said of it", {"fields": ("more",)}),
        ("Times", {"fields": ("created_at", "updated_at", "id")}),
    )
    readonly_fields = ("text", "outcome", "last_run", "more", "elsewhere")

    @display(
        description="Last turn",
        label={"succeeded": "success", "failed": "danger", "running": "info"},
        ordering="last_run_status",
    )
    def outcome(self, row: ScheduledPrompt) -> str:
        return row.last_run_status or "none"

    @display(description="Prompt")
    def text(self, row: ScheduledPrompt) -> Any:
        return show.text_block(row.prompt)

    @display(description="Run")
    def last_run(self, row: ScheduledPrompt) -> str | SafeString:
        return show.id_link("runs_run", row.last_run_id, "run")

    @display(description="Metadata")
    def more(self, row: ScheduledPrompt) -> Any:
        return show.json_block(row.metadata)

    @display(description="Belongs to it")
    def elsewhere(self, row: ScheduledPrompt) -> SafeString:
        return show.links(
            [(show.list_url("tasks_schedule", subject_id__exact=row.pk), "its schedule")]
        )
