"""Carrying a run on after its last journaled step, on whichever worker holds it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.aio import db_call
from apps.engine.ports import StepRecord, Usage
from apps.engine.state import TurnState, rebuild
from apps.runs.selectors import journal_of

if TYPE_CHECKING:
    from uuid import UUID

    from apps.runs.holding import Hold
    from apps.runs.kinds import Plan


async def resumed_state(hold: Hold, plan: Plan) -> TurnState | None:
    """The state the journal proves, or None when nothing was journaled yet."""
    steps = await db_call(journaled, hold.workspace_id, hold.run_id)
    return rebuild(plan.messages, steps) if steps else None


def said_so_far(workspace_id: UUID, run_id: UUID) -> str:
    """The text of a turn that rests or has lost its holder, as its journal proves it."""
    return rebuild((), journaled(workspace_id, run_id)).text


def journaled(workspace_id: UUID, run_id: UUID) -> list[StepRecord]:
    """The run's steps as the engine wrote them, in order."""
    return [
        StepRecord(
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
        for row in journal_of(workspace_id, run_id)
    ]
