"""The record of a bench (`bench.py`): several turns of one run write it side by side.

`journal.py` has one promise at a time; here they add up on the run's row. Each method is one
transaction, conditional on (owner, attempt) still holding the run, and takes the run before its
budgets: two turns of one run would otherwise wait for each other for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from apps.core.rows import execute, insert
from apps.engine.ports import Go, LeaseLost, Spend, StepRecord
from apps.events.services import publish
from apps.runs import budgets
from apps.runs.holding import HELD
from apps.runs.journal import step_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.runs.holding import Hold

_KEEP = f"""UPDATE runs_run SET lease_until = now() + make_interval(secs => %s)
 WHERE {HELD} RETURNING cancel_requested_at IS NOT NULL"""  # noqa: S608  (no input in it)
_BEGUN = f"UPDATE runs_run SET in_step = true WHERE {HELD} RETURNING id"  # noqa: S608
_PROMISE = f"""UPDATE runs_run SET reserved_tokens = reserved_tokens + %s,
       reserved_cost_micros = reserved_cost_micros + %s,
       reserved_tool_calls = reserved_tool_calls + %s WHERE {HELD} RETURNING id"""  # noqa: S608
_RECORD = f"""UPDATE runs_run SET steps = steps + 1, tokens_in = tokens_in + %s,
       tokens_out = tokens_out + %s, cost_micros = cost_micros + %s, tool_calls = tool_calls + %s,
       reserved_tokens = reserved_tokens - %s, reserved_cost_micros = reserved_cost_micros - %s,
       reserved_tool_calls = reserved_tool_calls - %s, lost_leases = 0
 WHERE {HELD} RETURNING steps"""  # noqa: S608
_RELEASE = f"""WITH owed AS (SELECT id, reserved_tokens AS tokens, reserved_cost_micros AS cost,
       reserved_tool_calls AS calls FROM runs_run WHERE {HELD} FOR UPDATE)
UPDATE runs_run r SET reserved_tokens = 0, reserved_cost_micros = 0, reserved_tool_calls = 0
  FROM owed WHERE r.id = owed.id RETURNING owed.tokens, owed.cost, owed.calls"""  # noqa: S608


class Ledger:
    """What one held run has promised, spent and done. Its methods belong on a database thread."""

    def __init__(self, actor: Actor, hold: Hold) -> None:
        self.actor, self.hold = actor, hold
        self.has_promised = False

    def begin(self) -> None:
        """From now on a lost worker is this run's doing: some of its work is always under way. LeaseLost."""
        if not execute(_BEGUN, self.hold.fence):
            raise LeaseLost

    @transaction.atomic
    def promise(self, worst: Spend) -> tuple[Go, Spend]:
        """May a step that costs at most `worst` begin? (verdict, what is reserved for it)"""
        rows = execute(_KEEP, [settings.LEASE_SECONDS, *self.hold.fence])
        if not rows:
            return Go.LEASE_LOST, Spend()
        if rows[0][0]:
            return Go.CANCEL, Spend()
        promised = budgets.reserve(self.hold, worst)
        if promised is None:
            return Go.ON, Spend()
        if not promised:
            return Go.BUDGET, Spend()
        execute(_PROMISE, [*_amounts(worst), *self.hold.fence])
        self.has_promised = True
        return Go.ON, worst

    @transaction.atomic
    def record(self, step: StepRecord, kept: Spend, facts: Sequence[Fact] = ()) -> None:
        """A step happened: journal it under the run's next number, settle its promise, say `facts`.

        Raises LeaseLost.
        """
        usage, calls = step.usage, int(step.kind == "tool")
        spent = [usage.tokens_in, usage.tokens_out, step.cost_micros, calls]
        rows = execute(_RECORD, [*spent, *_amounts(kept), *self.hold.fence])
        if not rows:
            raise LeaseLost
        insert(step_row(self.hold, step, rows[0][0]))
        if kept != Spend():
            real = Spend(usage.tokens_in + usage.tokens_out, step.cost_micros, calls)
            budgets.settle(self.hold, kept, real)
        if facts:
            publish(self.actor, *facts)

    def give_back(self, kept: Spend) -> None:
        """A promise that no step has used."""
        if kept == Spend():
            return
        with transaction.atomic():
            if execute(_PROMISE, [*(-amount for amount in _amounts(kept)), *self.hold.fence]):
                budgets.settle(self.hold, kept, Spend())

    def release(self) -> None:
        """Give back every promise that is still open: their turns were cut off."""
        if not self.has_promised:
            return
        with transaction.atomic():
            for owed in execute(_RELEASE, self.hold.fence):
                budgets.settle(self.hold, Spend(*owed), Spend())


def _amounts(spend: Spend) -> list[int]:
    return [spend.tokens, spend.cost_micros, spend.tool_calls]
