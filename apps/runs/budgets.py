"""Reserve before, settle after: spent + reserved never passes a cap, however many calls race.

A call's worst case is reserved on every budget that covers the run (workspace, session, agent, token)
before the call is made, and replaced by the real figure when it is journaled. Rows are locked in id
order, so two runs under the same two budgets cannot deadlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from apps.accounts.services import record_change
from apps.core.errors import InvalidInput
from apps.core.rows import execute
from apps.engine.ports import Spend
from apps.runs.models import Budget

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.runs.holding import Hold
    from apps.workspaces.preferences import Preferences

MICROS_A_CENT = 10_000
SUBJECTS = ("workspace", "session", "agent", "token")

_COVERS = (
    "workspace_id = %s AND (subject_type, subject_id) IN ((%s, %s), (%s, %s), (%s, %s), (%s, %s))"
)
_LOCK = f"""SELECT limit_tokens, spent_tokens + reserved_tokens,
       limit_cost_micros, spent_cost_micros + reserved_cost_micros,
       limit_tool_calls, spent_tool_calls + reserved_tool_calls
  FROM runs_budget WHERE {_COVERS} ORDER BY id FOR UPDATE"""  # noqa: S608  (no input in it)
_RESERVE = f"""UPDATE runs_budget SET reserved_tokens = reserved_tokens + %s,
       reserved_cost_micros = reserved_cost_micros + %s,
       reserved_tool_calls = reserved_tool_calls + %s WHERE {_COVERS}"""  # noqa: S608
_SETTLE = f"""UPDATE runs_budget SET reserved_tokens = greatest(reserved_tokens - %s, 0),
       reserved_cost_micros = greatest(reserved_cost_micros - %s, 0),
       reserved_tool_calls = greatest(reserved_tool_calls - %s, 0),
       spent_tokens = spent_tokens + %s, spent_cost_micros = spent_cost_micros + %s,
       spent_tool_calls = spent_tool_calls + %s WHERE {_COVERS}"""  # noqa: S608


def _covers(hold: Hold) -> list[object]:
    named = (hold.workspace_id, hold.session_id, hold.agent_id, hold.token_id)
    pairs = [part for kind, key in zip(SUBJECTS, named, strict=True) for part in (kind, key)]
    return [hold.workspace_id, *pairs]


def reserve(hold: Hold, worst: Spend) -> bool | None:
    """Promise `worst` to a call. True: promised; False: a cap refuses; None: no budget covers it.

    Runs inside the caller's transaction; the rows stay locked until it ends.
    """
    covers = _covers(hold)
    budgets = execute(_LOCK, covers)
    if not budgets:
        return None
    asked = (worst.tokens, worst.cost_micros, worst.tool_calls)
    for row in budgets:
        for (limit, used), amount in zip(zip(row[::2], row[1::2], strict=True), asked, strict=True):
            if limit is not None and amount and used + amount > limit:
                return False
    execute(_RESERVE, [*asked, *covers])
    return True


def settle(hold: Hold, reserved: Spend, real: Spend) -> None:
    """Replace a promise by what the call really took (zero: nothing was spent)."""
    if reserved == Spend() and real == Spend():
        return
    covers = _covers(hold)
    execute(_LOCK, covers)  # an UPDATE locks in the order of its plan
    execute(
        _SETTLE,
        [
            reserved.tokens,
            reserved.cost_micros,
            reserved.tool_calls,
            real.tokens,
            real.cost_micros,
            real.tool_calls,
            *covers,
        ],
    )


@transaction.atomic
def set_budget(
    actor: Actor,
    subject_type: str,
    subject_id: UUID,
    *,
    tokens: int | None = None,
    cost_micros: int | None = None,
    tool_calls: int | None = None,
) -> Budget:
    """Cap what a workspace, session, agent or token may spend; None lifts that cap.

    Raises InvalidInput for an unknown subject type or a negative cap.
    """
    if subject_type not in SUBJECTS:
        raise InvalidInput(fields={"subject_type": [f"One of {', '.join(SUBJECTS)}."]})
    caps = {
        "limit_tokens": tokens,
        "limit_cost_micros": cost_micros,
        "limit_tool_calls": tool_calls,
    }
    if any(cap is not None and cap < 0 for cap in caps.values()):
        raise InvalidInput(fields={"limit": ["A cap is not negative."]})
    budget: Budget
    budget, _ = Budget.objects.in_workspace(actor.workspace_id).update_or_create(
        subject_type=subject_type,
        subject_id=subject_id,
        defaults=caps,
        create_defaults={**caps, "workspace_id": actor.workspace_id},
    )
    record_change(actor, "budget.set", subject_type, subject_id, after=caps)
    return budget


def cap_session(actor: Actor, session_id: UUID, preferences: Preferences) -> None:
    """What the workspace lets a new session spend, when it says so."""
    cents = preferences.cost_budget_cents
    if preferences.token_budget or cents:
        set_budget(
            actor,
            "session",
            session_id,
            tokens=preferences.token_budget or None,
            cost_micros=cents * MICROS_A_CENT or None,
        )


def raise_cap(actor: Actor, subject_type: str, subject_id: UUID, *, extra_tokens: int) -> None:
    """Let a subject spend `extra_tokens` more than it has spent or was allowed, whichever is more."""
    execute(
        """UPDATE runs_budget SET limit_tokens = greatest(limit_tokens, spent_tokens + reserved_tokens) + %s
            WHERE workspace_id = %s AND subject_type = %s AND subject_id = %s
              AND limit_tokens IS NOT NULL""",
        [extra_tokens, actor.workspace_id, subject_type, subject_id],
    )
