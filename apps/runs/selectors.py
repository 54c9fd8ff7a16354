from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.engine.ports import StepRecord, Usage
from apps.engine.state import rebuild
from apps.runs.models import OPEN, Run, Step

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.engine.state import TurnState


def active_run(actor: Actor, session_id: UUID) -> Run | None:
    """The session's run that has not ended, newest first, or None."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).order_by("-created_at").first()


def journal_of(workspace_id: UUID, run_id: UUID) -> list[StepRecord]:
    """The run's steps as the engine wrote them, in order: what a resuming worker needs of them."""
    steps = Step.objects.in_workspace(workspace_id).filter(run_id=run_id).order_by("index")
    return [_record(row) for row in steps.values(*_READ)]


_READ = (
    "index",
    "kind",
    "name",
    "status",
    "call_id",
    "input",
    "output",
    "tokens_in",
    "tokens_out",
    "cost_micros",
    "started_at",
    "finished_at",
)


def _record(row: dict[str, Any]) -> StepRecord:
    return StepRecord(
        index=row["index"],
        kind=row["kind"],
        name=row["name"],
        status=row["status"],
        call_id=row["call_id"],
        input=row["input"],
        output=row["output"],
        usage=Usage(row["tokens_in"], row["tokens_out"]),
        cost_micros=row["cost_micros"],
        seconds=(row["finished_at"] - row["started_at"]).total_seconds(),
    )


def said_so_far(actor: Actor, run_id: UUID) -> TurnState:
    """The `text` and the `last` words of a turn that rests or has lost its holder, as its journal proves it."""
    return rebuild((), journal_of(actor.workspace_id, run_id))
