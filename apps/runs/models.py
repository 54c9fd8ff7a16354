"""One execution of an agent and its journal.

TLDR: a Run is claimed by conditional update and held by a lease; every model reply and tool result is
a Step written before the next begins; nothing is written after the lease is lost (`attempt` is the
fencing token). Celery only wakes; these rows are the record.
"""

from __future__ import annotations

from django.db import models

from apps.core.tenancy import TenantKey, TenantModel


class RunStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)  # the index says these, too
TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})

# Key of `Run.input`: what a request brought and no other row holds. It goes when the run ends.
REQUEST = "request"

# From where to where a run may move. `running -> queued` is a lost lease being handed on.
TRANSITIONS: dict[str, frozenset[str]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.QUEUED, RunStatus.WAITING, *TERMINAL}),
    RunStatus.WAITING: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


class RunKind(models.TextChoices):
    CHAT = "chat"
    TASK = "task"
    REVIEW = "review"
    SCHEDULE = "schedule"
    WORKFLOW_NODE = "workflow_node"


class Run(TenantModel):
    """One execution. What it is for is named by `subject_*`; a chat turn also has its `session_id`.

    `input` holds what the engine needs besides the conversation (a model, a completion's request
    while its turn waits: lists leave it out); `limits` the caps of this run; costs are micro-USD.
    `lost_leases`: lost in a step (`in_step`: one has begun under this lease), since the last one journaled.
    """

    kind = models.CharField(max_length=16, choices=RunKind, default=RunKind.CHAT)
    status = models.CharField(max_length=10, choices=RunStatus, default=RunStatus.QUEUED)
    session_id = models.UUIDField(null=True)
    subject_type = models.CharField(max_length=40, blank=True)
    subject_id = models.UUIDField(null=True)
    agent = TenantKey(
        "formations.Agent", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    parent = TenantKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    user_id = models.UUIDField(null=True)
    token_id = models.UUIDField(null=True)
    model = models.CharField(max_length=200, blank=True)
    input = models.JSONField(default=dict)
    limits = models.JSONField(default=dict)
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    attempt = models.PositiveIntegerField(default=0)
    lost_leases = models.IntegerField(default=0)
    in_step = models.BooleanField(default=False)
    waiting_for = models.UUIDField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=200, blank=True)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)
    reserved_tokens = models.BigIntegerField(default=0)
    reserved_cost_micros = models.BigIntegerField(default=0)
    reserved_tool_calls = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=1000, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="run_by_workspace"),
            models.Index(fields=["workspace", "session_id", "-created_at"], name="run_by_session"),
            models.Index(
                fields=["created_at", "id"], name="run_queue", condition=models.Q(status="queued")
            ),
            models.Index(
                fields=["lease_until"], name="run_leases", condition=models.Q(status="running")
            ),
            models.Index(
                fields=["workspace", "session_id"],
                name="run_open_in_session",
                condition=models.Q(status__in=["queued", "running", "waiting"]),
            ),
            models.Index(
                fields=["workspace", "subject_id"],
                name="run_open_of_subject",
                condition=models.Q(status__in=["queued", "running", "waiting"]),
            ),
            models.Index(
                fields=["workspace", "subject_id", "-created_at"],
                name="run_of_subject",
                condition=models.Q(session_id__isnull=True, subject_id__isnull=False),
            ),
            models.Index(
                fields=["waiting_for"], name="run_waiting", condition=models.Q(status="waiting")
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "session_id"],
                condition=models.Q(status="running", session_id__isnull=False),
                name="one_running_turn_a_session",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}"


class StepKind(models.TextChoices):
    """`work`: what a bench journaled that is neither a model's reply nor a call it asked for."""

    MODEL = "model"
    TOOL = "tool"
    WORK = "work"


class Step(TenantModel):
    """One journaled model reply or tool result; immutable once written. `index` counts from 1."""

    run = TenantKey(Run, on_delete=models.CASCADE, related_name="journal", db_index=False)
    index = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    kind = models.CharField(max_length=8, choices=StepKind)
    name = models.CharField(max_length=200)
    call_id = models.CharField(max_length=120, blank=True)
    status = models.CharField(max_length=12, default="ok")
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["run_id", "index"]
        constraints = [models.UniqueConstraint(fields=["run", "index"], name="step_index_once")]

    def __str__(self) -> str:
        return f"{self.index} {self.kind} {self.name}"


class Budget(TenantModel):
    """A cap on what a subject may spend, with what is spent and what is promised to calls in flight.

    The database keeps the promise: spent + reserved never passes the limit. A null limit is none.
    """

    subject_type = models.CharField(max_length=20)
    subject_id = models.UUIDField()
    limit_tokens = models.BigIntegerField(null=True, blank=True)
    limit_cost_micros = models.BigIntegerField(null=True, blank=True)
    limit_tool_calls = models.BigIntegerField(null=True, blank=True)
    spent_tokens = models.BigIntegerField(default=0)
    spent_cost_micros = models.BigIntegerField(default=0)
    spent_tool_calls = models.BigIntegerField(default=0)
    reserved_tokens = models.BigIntegerField(default=0)
    reserved_cost_micros = models.BigIntegerField(default=0)
    reserved_tool_calls = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "subject_type", "subject_id"], name="budget_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject_type} {self.subject_id}"
