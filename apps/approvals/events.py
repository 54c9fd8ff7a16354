"""What happened to a request. `run_id` is set when the subject is a run: the run hears it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFact(Fact):
    """What every fact about a request says."""

    name: ClassVar[str] = "approval.changed"
    subject: ClassVar[tuple[str, str]] = ("approval", "approval_id")

    approval_id: UUID
    kind: str
    action: str
    subject_type: str
    subject_id: UUID | None
    session_id: UUID | None
    run_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(ApprovalFact):
    name: ClassVar[str] = "approval.requested"

    reason: str
    options: list[Any] = field(default_factory=list)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecided(ApprovalFact):
    """`status`: approved, denied or answered. The answer itself stays in the row."""

    name: ClassVar[str] = "approval.decided"

    status: str
    decided_by: UUID | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWithdrawn(ApprovalFact):
    name: ClassVar[str] = "approval.withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalExpired(ApprovalFact):
    """Nobody decided in time."""

    name: ClassVar[str] = "approval.expired"
