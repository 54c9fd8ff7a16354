"""Facts about tasks (contract/polpo.md §15). Ids only: the row completes a fact when it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFact(Fact):
    subject: ClassVar[tuple[str, str]] = ("task", "task_id")
    task_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreated(TaskFact):
    name: ClassVar[str] = "task.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMoved(TaskFact):
    """Every change of status. `mission_id` lets a mission look at its graph again."""

    name: ClassVar[str] = "task.moved"
    before: str
    after: str
    mission_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdated(TaskFact):
    name: ClassVar[str] = "task.updated"
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRemoved(TaskFact):
    name: ClassVar[str] = "task.removed"
    mission_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetried(TaskFact):
    name: ClassVar[str] = "task.retried"
    attempt: int
    max_retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetryBlocked(TaskFact):
    """Its work has effects outside: a human decides whether it may be done again."""

    name: ClassVar[str] = "task.retry_blocked"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFixStarted(TaskFact):
    name: ClassVar[str] = "task.fix_started"
    attempt: int
    max_fix: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetriesSpent(TaskFact):
    name: ClassVar[str] = "task.retries_spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAsked(TaskFact):
    name: ClassVar[str] = "task.asked"
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswered(TaskFact):
    name: ClassVar[str] = "task.answered"
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTimedOut(TaskFact):
    """`elapsed` and `timeout` in ms."""

    name: ClassVar[str] = "task.timed_out"
    elapsed: int
    timeout: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecovered(TaskFact):
    """Its worker was lost; the attempt goes on after its last step."""

    name: ClassVar[str] = "task.recovered"
    title: str
    previous_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpawned(TaskFact):
    """An attempt begins. (`run_id` is not a field here: it would file the fact under that run.)"""

    name: ClassVar[str] = "agent.spawned"
    agent_name: str
    task_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentActive(TaskFact):
    name: ClassVar[str] = "agent.active"
    agent_name: str
    tool: str = ""
    file: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFinished(TaskFact):
    """`exit_code` 0: it came to its end; `duration` in ms."""

    name: ClassVar[str] = "agent.finished"
    agent_name: str
    exit_code: int
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWentStale(TaskFact):
    """`action`: warning or killed."""

    name: ClassVar[str] = "agent.went_stale"
    agent_name: str
    idle_ms: int
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentStarted(TaskFact):
    name: ClassVar[str] = "assessment.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentProgressed(TaskFact):
    name: ClassVar[str] = "assessment.progressed"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStarted(TaskFact):
    """`index` counts from 0 among `total` checks."""

    name: ClassVar[str] = "assessment.check_started"
    index: int
    total: int
    type: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCompleted(TaskFact):
    name: ClassVar[str] = "assessment.check_completed"
    index: int
    total: int
    type: str
    label: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentCompleted(TaskFact):
    name: ClassVar[str] = "assessment.completed"
    passed: bool
    scores: list[dict[str, Any]] = field(default_factory=list)
    global_score: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationsCorrected(TaskFact):
    name: ClassVar[str] = "assessment.corrected"
    corrections: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineNears(TaskFact):
    """Times in ms, `percent_used` 0..1 of the time between creation and deadline."""

    name: ClassVar[str] = "sla.neared"
    entity_type: str
    deadline: str
    elapsed: int
    remaining: int
    percent_used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineMissed(TaskFact):
    name: ClassVar[str] = "sla.missed"
    entity_type: str
    deadline: str
    overdue_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineMet(TaskFact):
    name: ClassVar[str] = "sla.kept"
    entity_type: str
    deadline: str
    margin_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFact(Fact):
    """`subject_*`: what the schedule is for."""

    subject: ClassVar[tuple[str, str]] = ("schedule", "schedule_id")
    schedule_id: UUID
    subject_type: str
    subject_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCreated(ScheduleFact):
    name: ClassVar[str] = "schedule.created"
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSwitched(ScheduleFact):
    name: ClassVar[str] = "schedule.switched"
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTriggered(ScheduleFact):
    name: ClassVar[str] = "schedule.triggered"
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFailed(ScheduleFact):
    """It was due, and what it is for could not be done."""

    name: ClassVar[str] = "schedule.failed"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCompleted(ScheduleFact):
    """A one-shot schedule has fired."""

    name: ClassVar[str] = "schedule.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleExpired(ScheduleFact):
    name: ClassVar[str] = "schedule.expired"
    end_date: datetime
