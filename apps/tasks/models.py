"""Work to be done by an agent, its state machine, and what was judged of the result.

TLDR: a Task moves only along `TRANSITIONS` (or by one of the forced moves that `services.moving`
names); each attempt is a Run; `ready` says that nothing but a free place keeps it from starting.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from apps.core.tenancy import TenantKey, TenantModel


class TaskStatus(models.TextChoices):
    """Contract/polpo.md §5.3."""

    DRAFT = "draft"
    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    REVIEW = "review"
    DONE = "done"
    FAILED = "failed"


TERMINAL = frozenset({TaskStatus.DONE, TaskStatus.FAILED})
WORKING = frozenset({TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.REVIEW})

# From where to where a task may move by itself or by PATCH (contract §5.3).
TRANSITIONS: dict[str, frozenset[str]] = {
    TaskStatus.DRAFT: frozenset({TaskStatus.PENDING}),
    TaskStatus.PENDING: frozenset({TaskStatus.ASSIGNED, TaskStatus.AWAITING_APPROVAL}),
    TaskStatus.AWAITING_APPROVAL: frozenset(
        {TaskStatus.ASSIGNED, TaskStatus.FAILED, TaskStatus.DONE, TaskStatus.PENDING}
    ),
    TaskStatus.ASSIGNED: frozenset({TaskStatus.IN_PROGRESS, TaskStatus.AWAITING_APPROVAL}),
    TaskStatus.IN_PROGRESS: frozenset(
        {TaskStatus.REVIEW, TaskStatus.FAILED, TaskStatus.AWAITING_APPROVAL}
    ),
    TaskStatus.REVIEW: frozenset(
        {TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.AWAITING_APPROVAL}
    ),
    TaskStatus.DONE: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
}


class Phase(models.TextChoices):
    """What an attempt is for (contract §5.2)."""

    EXECUTION = "execution"
    REVIEW = "review"
    FIX = "fix"
    CLARIFICATION = "clarification"


class Task(TenantModel):
    """One piece of work (contract/polpo.md §5.2).

    `assign_to` names an agent: it is looked up when the task starts, so that a replaced agent takes
    over. `depends_on` holds ids of tasks of the same workspace, checked when written; one that was
    removed since is missing, and keeps the task from starting. `held_by` lists what else does (a
    checkpoint, a delay, a paused mission), by name. `ready` is pending, not held, all dependencies
    done: kept by `services.moving.refresh_ready`, so that the next task is found by an index.
    `run_id` is the attempt under way, else the last one; `result` is `{exitCode, stdout, stderr,
    duration}` of the last one (duration in ms); `warned_at`: when its silence was warned of;
    `deadline`, `max_duration` (ms; 0: none) and `priority` (higher first) as on the wire; `sla` is what
    was said of the deadline: warned, missed or kept.
    """

    title = models.CharField(max_length=500)
    description = models.TextField()
    original_description = models.TextField(blank=True)
    assign_to = models.CharField(max_length=100)
    group = models.CharField(max_length=300, blank=True)
    mission_id = models.UUIDField(null=True, blank=True)
    depends_on = ArrayField(models.UUIDField(), default=list, blank=True)
    status = models.CharField(max_length=20, choices=TaskStatus, default=TaskStatus.PENDING)
    phase = models.CharField(max_length=14, choices=Phase, blank=True)
    held_by = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    ready = models.BooleanField(default=False)
    priority = models.FloatField(default=1.0)
    expectations = models.JSONField(default=list, blank=True)
    metrics = models.JSONField(default=list, blank=True)
    expected_outcomes = models.JSONField(default=list, blank=True)
    outcomes = models.JSONField(default=list, blank=True)
    retry_policy = models.JSONField(null=True, blank=True)
    notifications = models.JSONField(null=True, blank=True)
    side_effects = models.BooleanField(default=False)
    retries = models.PositiveIntegerField(default=0)
    max_retries = models.PositiveIntegerField(default=3)
    max_duration = models.PositiveBigIntegerField(null=True, blank=True)
    fix_attempts = models.PositiveIntegerField(default=0)
    question_rounds = models.PositiveIntegerField(default=0)
    resolution_attempts = models.PositiveIntegerField(default=0)
    revision_count = models.PositiveIntegerField(default=0)
    deadline = models.DateTimeField(null=True, blank=True)
    sla = models.CharField(max_length=10, blank=True)
    run_id = models.UUIDField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    approval_id = models.UUIDField(null=True, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    model = models.CharField(max_length=200, blank=True)
    user_id = models.UUIDField(null=True, editable=False)
    token_id = models.UUIDField(null=True, editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    warned_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(fields=["workspace", "created_at", "id"], name="task_list"),
            models.Index(fields=["workspace", "status", "created_at", "id"], name="task_by_status"),
            models.Index(fields=["workspace", "group", "created_at"], name="task_by_group"),
            models.Index(fields=["workspace", "mission_id"], name="task_by_mission"),
            models.Index(
                fields=["workspace", "-priority", "created_at", "id"],
                name="task_queue",
                condition=models.Q(ready=True),
                include=["assign_to"],
            ),
            models.Index(
                fields=["workspace", "assign_to"],
                name="task_at_work",
                condition=models.Q(status__in=["assigned", "in_progress", "review"]),
            ),
            models.Index(
                fields=["deadline"],
                name="task_deadline",
                condition=models.Q(deadline__isnull=False)
                & ~models.Q(status__in=["done", "failed"]),
            ),
            models.Index(
                fields=["updated_at"],
                name="task_blocked",
                condition=models.Q(status="pending", ready=False),
            ),
            GinIndex(fields=["depends_on"], name="task_dependents"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "group", "title"],
                condition=~models.Q(status__in=["done", "failed"]),
                name="one_open_task_a_title",
            )
        ]

    def __str__(self) -> str:
        return self.title


class Trigger(models.TextChoices):
    """Why a result was judged (contract §6.4)."""

    INITIAL = "initial"
    REASSESS = "reassess"
    FIX = "fix"
    RETRY = "retry"
    AUTO_CORRECT = "auto-correct"
    JUDGE = "judge"


class Assessment(TenantModel):
    """One judgement of a task's result; immutable. `number` counts from 1 within the task.

    `checks`, `metrics`, `review` and `scores` as on the wire (contract §6.4); `global_score` 1..5.
    """

    task = TenantKey(Task, on_delete=models.CASCADE, related_name="assessments", db_index=False)
    number = models.PositiveIntegerField()
    run_id = models.UUIDField(null=True)
    trigger = models.CharField(max_length=14, choices=Trigger, default=Trigger.INITIAL)
    passed = models.BooleanField()
    global_score = models.FloatField(null=True)
    checks = models.JSONField(default=list)
    metrics = models.JSONField(default=list)
    review = models.TextField(blank=True)
    scores = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["task_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="assessment_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.number} {'passed' if self.passed else 'failed'}"


class Schedule(TenantModel):
    """When something is done again, or once (contract/polpo.md §7.7): a row that one tick claims.

    `expression` is a five-field cron or an ISO instant, told in `zone`. What is done is named by
    `subject_*`; the app that owns it registers how (`schedules.on_due`). `next_run_at` null: nothing
    is due any more.
    """

    subject_type = models.CharField(max_length=20)
    subject_id = models.UUIDField()
    expression = models.CharField(max_length=120)
    zone = models.CharField(max_length=64, default="UTC")
    recurring = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField(null=True, blank=True)
    last_run_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    end_date = models.DateTimeField(null=True, blank=True)
    user_id = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(
                fields=["next_run_at"], name="schedule_due", condition=models.Q(enabled=True)
            ),
            models.Index(fields=["workspace", "created_at", "id"], name="schedule_list"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "subject_type", "subject_id"], name="schedule_once"
            )
        ]

    def __str__(self) -> str:
        return self.expression


class ScheduledPrompt(TenantModel):
    """What is said to an agent when a schedule is due: the subject `prompt` of a Schedule.

    The jobs of contract/muxi.md §5.9. `end_user` is for whom: the turns are in a conversation of theirs
    that is called as the job is. `last_run_id` is the turn of the last firing, `last_run_status` how it stands: running,
    succeeded, failed or cancelled. Cancelled turns are no failures.
    """

    end_user = models.CharField(max_length=255, blank=True)
    title = models.CharField(max_length=500, blank=True)
    prompt = models.TextField()
    total_runs = models.PositiveIntegerField(default=0)
    total_failures = models.PositiveIntegerField(default=0)
    consecutive_failures = models.PositiveIntegerField(default=0)
    last_run_id = models.UUIDField(null=True, editable=False)
    last_run_at = models.DateTimeField(null=True)
    last_run_status = models.CharField(max_length=10, blank=True)
    last_failure = models.CharField(max_length=500, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(fields=["workspace", "created_at", "id"], name="prompt_list"),
            models.Index(fields=["workspace", "end_user", "created_at"], name="prompt_of_user"),
            models.Index(
                fields=["workspace", "last_run_id"],
                name="prompt_of_run",
                condition=models.Q(last_run_status="running"),
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.prompt[:40]
