"""Facts about missions (contract/polpo.md §15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionFact(Fact):
    subject: ClassVar[tuple[str, str]] = ("mission", "mission_id")
    mission_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionSaved(MissionFact):
    name: ClassVar[str] = "mission.saved"
    mission_name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionExecuted(MissionFact):
    name: ClassVar[str] = "mission.executed"
    group: str
    task_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionCompleted(MissionFact):
    """It came to its end, well or not; `report` as in contract §7.4."""

    name: ClassVar[str] = "mission.completed"
    group: str
    all_passed: bool
    report: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionResumed(MissionFact):
    name: ClassVar[str] = "mission.resumed"
    mission_name: str
    retried: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionAborted(MissionFact):
    """Upstream says nothing when a mission is aborted."""

    name: ClassVar[str] = "mission.aborted"
    group: str
    aborted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionDeleted(MissionFact):
    name: ClassVar[str] = "mission.deleted"
    deleted_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BarrierFact(MissionFact):
    group: str
    barrier: str
    message: str = ""
    after_tasks: list[str]
    blocks_tasks: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointReached(BarrierFact):
    name: ClassVar[str] = "checkpoint.reached"
    reached_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointResumed(MissionFact):
    name: ClassVar[str] = "checkpoint.resumed"
    group: str
    barrier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayStarted(BarrierFact):
    """`duration` as the document writes it (ISO 8601)."""

    name: ClassVar[str] = "delay.started"
    duration: str
    started_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayExpired(MissionFact):
    name: ClassVar[str] = "delay.expired"
    group: str
    barrier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePassed(MissionFact):
    name: ClassVar[str] = "quality.gate_passed"
    barrier: str
    avg_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFailed(MissionFact):
    name: ClassVar[str] = "quality.gate_failed"
    barrier: str
    avg_score: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdMissed(MissionFact):
    name: ClassVar[str] = "quality.threshold_missed"
    avg_score: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksDeadlocked(MissionFact):
    """What these wait for was removed or will never pass: they are failed."""

    name: ClassVar[str] = "orchestrator.deadlocked"
    task_ids: list[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockDetected(MissionFact):
    name: ClassVar[str] = "deadlock.detected"
    task_ids: list[UUID]
    resolvable_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockThoughtOver(MissionFact):
    name: ClassVar[str] = "deadlock.thought_over"
    task_id: UUID
    failed_dep_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockResolved(MissionFact):
    """`action`: absorb or retry."""

    name: ClassVar[str] = "deadlock.resolved"
    task_id: UUID
    failed_dep_id: UUID
    action: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockUnresolvable(MissionFact):
    name: ClassVar[str] = "deadlock.unresolvable"
    task_id: UUID
    reason: str
