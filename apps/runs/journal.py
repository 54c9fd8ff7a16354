"""The engine's `Journal` on the database: every call is durable when it returns.

One transaction a call, one condition in each: (owner, attempt) still holds the run. The step that ends
a turn is written together with the turn's end, what it means to the kind above, and the news.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.approvals.selectors import was_decided
from apps.approvals.services import withdraw_unanswered
from apps.core import tools
from apps.core.aio import db_call
from apps.core.redact import redacted
from apps.core.rows import execute, insert
from apps.engine.ports import Ending, Go, LeaseLost, Outcome, Spend, StepRecord
from apps.events.services import publish
from apps.runs import budgets
from apps.runs.events import RunEnded, RunWaiting, ToolCalled, ToolReturned
from apps.runs.holding import HELD
from apps.runs.kinds import handler_of
from apps.runs.models import RunStatus, Step
from apps.runs.services import lock_run, wake_next, wake_run

if TYPE_CHECKING:
    from django.db.models import Model

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.runs.holding import Hold
    from apps.runs.kinds import Rest

_BEGIN = f"""UPDATE runs_run SET lease_until = now() + make_interval(secs => %s), in_step = true,
       reserved_tokens = %s, reserved_cost_micros = %s, reserved_tool_calls = %s
 WHERE {HELD} RETURNING cancel_requested_at IS NOT NULL"""  # noqa: S608
_SPEND = """steps = %s, tokens_in = tokens_in + %s, tokens_out = tokens_out + %s,
       cost_micros = cost_micros + %s, tool_calls = tool_calls + %s"""
# A step further: what comes is not what its workers were lost in.
_ALIVE = "lost_leases = 0, in_step = false"
_UNRESERVE = "reserved_tokens = 0, reserved_cost_micros = 0, reserved_tool_calls = 0"
_RESTS = """status = %s, model = %s, error_code = %s, error_message = %s, waiting_for = %s,
       lease_owner = '', lease_until = NULL, finished_at = CASE WHEN %s THEN now() END,
       input = CASE WHEN %s THEN input - 'request' ELSE input END"""
_TOTALS = "RETURNING tokens_in, tokens_out, cost_micros"
_STEP = f"UPDATE runs_run SET {_SPEND}, {_ALIVE}, {_UNRESERVE} WHERE {HELD} {_TOTALS}"  # noqa: S608
_REST = f"UPDATE runs_run SET {_RESTS}, {_UNRESERVE} WHERE {HELD} {_TOTALS}"  # noqa: S608
_LAST = f"UPDATE runs_run SET {_SPEND}, {_RESTS}, {_UNRESERVE} WHERE {HELD} {_TOTALS}"  # noqa: S608

STATUS_OF = {
    Ending.DONE: RunStatus.SUCCEEDED,
    Ending.CLIENT_TOOLS: RunStatus.SUCCEEDED,
    Ending.HANDED_OVER: RunStatus.SUCCEEDED,
    Ending.WAITING: RunStatus.WAITING,
    Ending.CANCELLED: RunStatus.CANCELLED,
    Ending.FAILED: RunStatus.FAILED,
    Ending.BUDGET: RunStatus.FAILED,
}
ASKING = frozenset({Ending.WAITING, Ending.BUDGET})
RESULT_IN_EVENT = 8_000  # characters of a tool's arguments or result that travel in an event


class RunJournal:
    """Journal of one held run. Not shared between turns; its calls follow one another."""

    def __init__(self, actor: Actor, hold: Hold) -> None:
        self.actor, self.hold = actor, hold
        self.reserved = Spend()

    async def begin(self, index: int, worst: Spend) -> Go:
        return await db_call(self._begin, worst)

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None:
        await db_call(self._record, step, outcome)

    async def close(self, outcome: Outcome) -> None:
        await db_call(self._close, outcome)

    @transaction.atomic
    def _begin(self, worst: Spend) -> Go:
        promised = budgets.reserve(self.hold, worst)
        if promised is False:
            return Go.BUDGET
        kept = worst if promised else Spend()
        rows = execute(
            _BEGIN,
            [
                settings.LEASE_SECONDS,
                kept.tokens,
                kept.cost_micros,
                kept.tool_calls,
                *self.hold.fence,
            ],
        )
        if not rows:
            transaction.set_rollback(True)
            return Go.LEASE_LOST
        self.reserved = kept
        return Go.CANCEL if rows[0][0] else Go.ON

    @transaction.atomic
    def _record(self, step: StepRecord, outcome: Outcome | None) -> None:
        tool_calls = 1 if step.kind == "tool" else 0
        spent = [
            step.index,
            step.usage.tokens_in,
            step.usage.tokens_out,
            step.cost_micros,
            tool_calls,
        ]
        facts = self._facts_of(step)
        rows: list[Model] = [step_row(self.hold, step, step.index)]
        if outcome is None:
            self._write(_STEP, spent)
        else:
            rest = self._rest(outcome, _LAST, spent)
            facts, rows = facts + rest.facts, rest.rows + rows
        insert(*rows)
        real = Spend(step.usage.tokens_in + step.usage.tokens_out, step.cost_micros, tool_calls)
        self._settle(real)
        if facts:
            publish(self.actor, *facts)

    @transaction.atomic
    def _close(self, outcome: Outcome) -> None:
        if outcome.ending is Ending.LEASE_LOST:
            return
        answered = False
        if outcome.ending in ASKING:
            outcome, answered = self._look_again(outcome)
        rest = self._rest(outcome, _REST, [])
        insert(*rest.rows)
        self._settle(Spend())
        publish(self.actor, *rest.facts)
        if answered:
            wake_run(self.actor, self.hold.run_id)

    def _look_again(self, outcome: Outcome) -> tuple[Outcome, bool]:
        """Before a turn waits for a human, under its locks: was it told to stop, or answered already?

        Who decides takes the same locks, so that an answer either is seen here or wakes the run.
        """
        run = lock_run(self.hold.workspace_id, self.hold.run_id)
        if run is None or (run.lease_owner, run.attempt) != (self.hold.owner, self.hold.attempt):
            raise LeaseLost
        asked = UUID(outcome.approval_id) if outcome.approval_id else None
        if run.cancel_requested_at is not None:
            if asked:
                withdraw_unanswered(self.actor, asked)
            return replace(outcome, ending=Ending.CANCELLED, code="", message=""), False
        return outcome, bool(asked and was_decided(self.actor, asked))

    def _settle(self, real: Spend) -> None:
        """Replace the promise; without one no budget covers this run."""
        if self.reserved != Spend():
            budgets.settle(self.hold, self.reserved, real)
            # Forgotten when it is true: a call that fails after this still owes the promise.
            transaction.on_commit(self._forget_promise)

    def _forget_promise(self) -> None:
        self.reserved = Spend()

    def _write(self, statement: str, values: list[Any]) -> tuple[Any, ...]:
        """One update under the lease; the run's totals. LeaseLost when it is no longer ours."""
        rows = execute(statement, [*values, *self.hold.fence])
        if not rows:
            raise LeaseLost
        return rows[0]

    def _rest(self, outcome: Outcome, statement: str, spent: list[Any]) -> Rest:
        """End or rest the run, let its kind do its part, and say what happened."""
        rest = handler_of(self.hold.kind).rested(self.actor, self.hold, outcome)
        status, waiting_for = STATUS_OF[outcome.ending], rest.waiting_for
        if outcome.ending is Ending.WAITING:
            waiting_for = UUID(outcome.approval_id)
        if waiting_for:
            status = RunStatus.WAITING
        ends = status != RunStatus.WAITING
        code = outcome.code or ("budget_exceeded" if outcome.ending is Ending.BUDGET else "")
        said = [status, outcome.model, code, outcome.message[:1000], waiting_for, ends, ends]
        totals = self._write(statement, spent + said)
        if ends and rest.wakes_next and self.hold.session_id:
            wake_next(self.hold.workspace_id, self.hold.session_id)
        rest.facts.append(self._rest_fact(status, waiting_for, outcome, code, totals))
        return rest

    def _rest_fact(
        self, status: str, waiting_for: Any, outcome: Outcome, code: str, totals: tuple[Any, ...]
    ) -> Fact:
        run = self._whose()
        if status == RunStatus.WAITING:
            return RunWaiting(**run, approval_id=waiting_for)
        return RunEnded(
            **run,
            status=status,
            kind=self.hold.kind,
            model=outcome.model,
            error_code=code,
            error_message=outcome.message[:500],
            tokens_in=totals[0],
            tokens_out=totals[1],
            cost_micros=totals[2],
        )

    def _whose(self) -> dict[str, Any]:
        """What every fact about this run says first."""
        return {"run_id": self.hold.run_id, "session_id": self.hold.session_id}

    def _facts_of(self, step: StepRecord) -> list[Fact]:
        run = self._whose()
        key = handler_of(self.hold.kind).agent_key
        now = timezone.now()
        if step.kind == "tool":
            failed = step.status not in {"ok", "interrupted"}
            said = _shortened(step.output)
            return [
                ToolReturned(
                    **run,
                    call_id=step.call_id,
                    agent_key=key,
                    tool=step.name,
                    status="error" if failed else "ok",
                    result=None if failed else said,
                    error={"code": "tool_error", "message": str(said)[:500]} if failed else None,
                    duration_ms=round(step.seconds * 1000),
                    finished_at=now,
                )
            ]
        calls = step.output.get("calls") or [] if isinstance(step.output, dict) else []
        return [
            ToolCalled(
                **run,
                call_id=call["id"],
                agent_key=key,
                tool=call["name"],
                arguments=_capped(redacted(call.get("arguments"))),
                started_at=now,
            )
            for call in calls
        ]


def _kept(tool: str, arguments: Any) -> Any:
    """A call's arguments as the journal holds them: without the secrets that some tools are told."""
    known = tools.find(tool)
    return redacted(arguments) if known is not None and known.private else arguments


def _kept_calls(output: Any) -> Any:
    """A model's reply as the journal holds it."""
    calls = output.get("calls") if isinstance(output, dict) else None
    if not calls:
        return output
    kept = [call | {"arguments": _kept(call["name"], call.get("arguments"))} for call in calls]
    return output | {"calls": kept}


def _shortened(output: Any) -> Any:
    """A tool's result as the live stream shows it."""
    if isinstance(output, dict) and "content" in output:
        output = output.get("data") if output.get("data") is not None else output["content"]
    return _capped(redacted(output))


def _capped(value: Any) -> Any:
    """`value`, or the beginning of its text when it is too long for an event."""
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= RESULT_IN_EVENT else text[:RESULT_IN_EVENT] + "…"


def step_row(hold: Hold, step: StepRecord, index: int) -> Step:
    """The step as it is kept, under the run's number `index`: without what a private call holds."""
    ended = timezone.now()
    return Step(
        workspace_id=hold.workspace_id,
        run_id=hold.run_id,
        index=index,
        attempt=hold.attempt,
        kind=step.kind,
        name=step.name[:200],
        call_id=step.call_id[:120],
        status=step.status,
        input=_kept(step.name, step.input) if step.kind == "tool" else step.input,
        output=step.output if step.kind == "tool" else _kept_calls(step.output),
        tokens_in=step.usage.tokens_in,
        tokens_out=step.usage.tokens_out,
        cost_micros=step.cost_micros,
        started_at=ended - timedelta(seconds=step.seconds),
        finished_at=ended,
    )
