"""Carrying a run on after its last journaled step, on whichever worker holds it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.aio import db_call
from apps.engine.state import TurnState, rebuild
from apps.runs.selectors import journal_of

if TYPE_CHECKING:
    from apps.runs.holding import Hold
    from apps.runs.kinds import Plan


async def resumed_state(hold: Hold, plan: Plan) -> TurnState | None:
    """The state the journal proves, or None when nothing was journaled yet."""
    steps = await db_call(journal_of, hold.workspace_id, hold.run_id)
    return rebuild(plan.messages, steps) if steps else None
