"""Missions: graphs of tasks, and the barriers that stand in one that runs."""

from __future__ import annotations

from django.db import models

from apps.core.tenancy import TenantKey, TenantModel


class MissionStatus(models.TextChoices):
    """Contract/polpo.md §7.1."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RECURRING = "recurring"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING = frozenset({MissionStatus.ACTIVE, MissionStatus.PAUSED})
# From where a mission may be executed (contract §7.3; failed and cancelled since issue #34 upstream).
EXECUTABLE = frozenset(
    {
        MissionStatus.DRAFT,
        MissionStatus.SCHEDULED,
        MissionStatus.RECURRING,
        MissionStatus.FAILED,
        MissionStatus.CANCELLED,
    }
)


class Mission(TenantModel):
    """A document of tasks and barriers, and where its execution stands (contract/polpo.md §7).

    `document` is what the next execution runs, `executed` what the present one runs: changing a
    mission does not change what is under way. Each execution is a `group` of tasks; `home` is the
    status that its end returns to (recurring, or scheduled when it failed). `wake_at`: something ends
    then though nothing else happens (a delay); `looked_at`: when its graph was last looked at. `report` is the last execution's (contract §7.4).
    """

    name = models.CharField(max_length=200)
    document = models.JSONField()
    executed = models.JSONField(null=True, blank=True)
    prompt = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=MissionStatus, default=MissionStatus.DRAFT)
    home = models.CharField(max_length=10, choices=MissionStatus, blank=True)
    group = models.CharField(max_length=300, blank=True)
    execution_count = models.PositiveIntegerField(default=0)
    deadline = models.DateTimeField(null=True, blank=True)
    sla = models.CharField(max_length=10, blank=True)
    end_date = models.DateTimeField(null=True, blank=True)
    quality_threshold = models.FloatField(null=True, blank=True)
    notifications = models.JSONField(null=True, blank=True)
    report = models.JSONField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True)
    user_id = models.UUIDField(null=True, editable=False)
    token_id = models.UUIDField(null=True, editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="mission_list"),
            models.Index(fields=["workspace", "status", "-created_at"], name="mission_by_status"),
            models.Index(
                fields=["looked_at"],
                name="mission_sweep",
                condition=models.Q(status__in=["active", "paused"]),
            ),
            models.Index(
                fields=["wake_at"],
                name="mission_wakes",
                condition=models.Q(status__in=["active", "paused"]),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BarrierKind(models.TextChoices):
    GATE = "gate"
    CHECKPOINT = "checkpoint"
    DELAY = "delay"


class BarrierState(models.TextChoices):
    """Gates pass or fail; checkpoints are reached and resumed; delays start and expire."""

    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"
    REACHED = "reached"
    RESUMED = "resumed"
    STARTED = "started"
    EXPIRED = "expired"


class Barrier(TenantModel):
    """A gate, checkpoint or delay of one execution. `spec` is its entry in the document."""

    mission = TenantKey(Mission, on_delete=models.CASCADE, related_name="barriers", db_index=False)
    group = models.CharField(max_length=300)
    kind = models.CharField(max_length=10, choices=BarrierKind)
    name = models.CharField(max_length=200)
    spec = models.JSONField()
    state = models.CharField(max_length=10, choices=BarrierState, default=BarrierState.WAITING)
    since = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    avg_score = models.FloatField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    user_id = models.UUIDField(null=True, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["mission_id", "group", "kind", "name"]
        indexes = [
            models.Index(
                fields=["workspace", "kind", "since"],
                name="barrier_in_the_way",
                condition=models.Q(state__in=["reached", "started"]),
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["mission", "group", "kind", "name"], name="barrier_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.state}"
