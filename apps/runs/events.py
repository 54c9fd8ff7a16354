"""Facts about runs. Tool arguments and results are redacted and capped before they become facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFact(Fact):
    subject: ClassVar[tuple[str, str]] = ("run", "run_id")
    run_id: UUID
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueued(RunFact):
    name: ClassVar[str] = "run.queued"
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(RunFact):
    """`attempt` above 1: a lost lease was handed on, the turn resumes after its last step."""

    name: ClassVar[str] = "run.started"
    kind: str
    attempt: int
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHandedOn(RunFact):
    """Its worker is gone; it is queued again and goes on after its last step."""

    name: ClassVar[str] = "run.handed_on"
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWaiting(RunFact):
    name: ClassVar[str] = "run.waiting"
    approval_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(RunFact):
    """`status`: succeeded, failed or cancelled; costs in micro-USD."""

    name: ClassVar[str] = "run.ended"
    status: str
    kind: str
    model: str = ""
    error_code: str = ""
    error_message: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(RunFact):
    name: ClassVar[str] = "tool.called"
    call_id: str
    agent_key: str
    tool: str
    arguments: Any
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned(RunFact):
    name: ClassVar[str] = "tool.returned"
    call_id: str
    agent_key: str
    tool: str
    status: str
    result: Any = None
    error: Any = None
    duration_ms: int = 0
    finished_at: datetime
