"""The agent loop: one step after the other over the ports, until the turn comes to rest.

A step is one model reply or one tool result. `_may_begin` is the one place where a turn is stopped
between steps; `Watch` is the one place where it is stopped inside one. Each step is journaled before
the next begins, and the last one together with the outcome. Imports neither Django nor Celery.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apps.engine import tracing
from apps.engine.calls import Watch, answer_call, storable, unique_ids
from apps.engine.ports import (
    Ending,
    Fault,
    Go,
    LeaseLost,
    Limits,
    Outcome,
    Sampling,
    Spend,
    StepRecord,
    ToolEnds,
    ToolWaits,
)
from apps.engine.replies import Reply, ask, plans_for
from apps.engine.state import Turn, TurnState, after_step, dump_call, joint, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.engine.ports import Ports, ToolCall, ToolResult, ToolSpec

__all__ = ["Turn", "TurnState", "advance", "rebuild", "run_turn"]

CODES = {
    Fault.RATE_LIMITED: "upstream_rate_limited",
    Fault.SERVER: "upstream_error",
    Fault.TIMEOUT: "upstream_timeout",
    Fault.BROKEN: "upstream_broken",
    Fault.AUTH: "provider_auth",
    Fault.REJECTED: "upstream_rejected",
    Fault.UNKNOWN_MODEL: "model_not_found",
}


async def run_turn(
    state: TurnState,
    ports: Ports,
    *,
    run_key: str,
    sampling: Sampling | None = None,
    client_tools: Sequence[ToolSpec] = (),
    limits: Limits | None = None,
) -> Outcome:
    """Run until the turn rests. The outcome is in the journal when this returns (unless the lease
    is lost). Errors of the journal itself are raised: the run is resumed by its lease.
    """
    turn = Turn(ports, run_key, sampling or Sampling(), client_tools, limits or Limits())
    if state.started is None:
        state = replace(state, started=ports.clock.monotonic())
    with tracing.span("invoke_agent", gen_ai__operation__name="invoke_agent"):
        while True:
            result = await advance(state, turn)
            if isinstance(result, Outcome):
                return result
            state = result


async def advance(state: TurnState, turn: Turn) -> TurnState | Outcome:
    """One step: the next pending tool call, else a model call."""
    journal = turn.ports.journal
    try:
        call = await _next_call(state, turn)
        if call is not None:
            return await _tool_step(state, turn, call)
        if state.pending:
            outcome = _outcome(state, Ending.CLIENT_TOOLS, calls=state.pending)
            await journal.close(outcome)
            return outcome
        if state.steps and state.messages[-1].role == "assistant":  # answered in an earlier life
            outcome = _outcome(state, Ending.DONE)
            await journal.close(outcome)
            return outcome
        return await _model_step(state, turn)
    except LeaseLost:
        return _outcome(state, Ending.LEASE_LOST)


# --- Between steps ----------------------------------------------------------------------------
async def _may_begin(state: TurnState, turn: Turn, worst: Spend) -> Outcome | None:
    """None: go on, `worst` is reserved. Else how the turn ends here, already journaled."""
    journal = turn.ports.journal
    end = _ended(state, turn, worst)
    if end is None:
        go = await journal.begin(state.steps + 1, worst)
        if go is Go.ON:
            return None
        if go is Go.LEASE_LOST:
            raise LeaseLost
        if go is Go.CANCEL:
            end = _outcome(state, Ending.CANCELLED)
        else:
            end = _outcome(
                state, Ending.BUDGET, code="budget_exceeded", message="The budget is spent."
            )
    await journal.close(end)
    return end


def _ended(state: TurnState, turn: Turn, worst: Spend) -> Outcome | None:
    """What the turn itself knows: cancelled, out of time, over a cap of the run."""
    if turn.ports.cancel.is_set():
        return _outcome(state, Ending.CANCELLED)
    left = turn.seconds_left(state)
    if left is not None and left <= 0:
        return _out_of_time(state, turn)
    limits, spent = turn.limits, state.spent
    caps = (
        ("step_limit", "steps", limits.steps, state.steps + 1),
        ("token_limit", "tokens", limits.tokens, spent.tokens + worst.tokens),
        ("cost_limit", "micro-USD", limits.cost_micros, spent.cost_micros + worst.cost_micros),
        ("tool_call_limit", "tool calls", limits.tool_calls, spent.tool_calls + worst.tool_calls),
    )
    for code, unit, cap, needed in caps:
        if cap and needed > cap:
            message = f"The run reached its limit of {cap} {unit}."
            return _outcome(state, Ending.BUDGET, code=code, message=message)
    return None


def _outcome(
    state: TurnState,
    ending: Ending,
    *,
    calls: tuple[ToolCall, ...] = (),
    approval_id: str = "",
    code: str = "",
    message: str = "",
) -> Outcome:
    return Outcome(
        ending,
        text=state.text,
        last=state.last,
        reason=state.reason,
        usage=state.usage,
        cost_micros=state.spent.cost_micros,
        model=state.model,
        calls=calls,
        approval_id=approval_id,
        code=code,
        message=message,
    )


def _out_of_time(state: TurnState, turn: Turn) -> Outcome:
    message = f"The run reached its time limit of {turn.limits.seconds:g} seconds."
    return _outcome(state, Ending.FAILED, code="time_limit", message=message)


def _stopped(state: TurnState, turn: Turn, why: str) -> Outcome:
    """The outcome when `Watch` ended a step."""
    return _outcome(state, Ending.CANCELLED) if why == "cancel" else _out_of_time(state, turn)


# --- A model's reply ----------------------------------------------------------------------------
async def _model_step(state: TurnState, turn: Turn) -> TurnState | Outcome:
    plans = await plans_for(state, turn)
    worst = Spend(
        max(plan.worst.tokens_in + plan.worst.tokens_out for plan in plans),
        max(plan.choice.cost_micros(plan.worst) for plan in plans),
    )
    if end := await _may_begin(state, turn, worst):
        return end
    clock = turn.ports.clock
    began, reply = clock.monotonic(), Reply(joint(state), plans[0])
    async with Watch(turn.ports, turn.seconds_left(state)) as watch:
        await ask(turn, plans, reply)
    step = _model_record(state, reply, watch.why, clock.monotonic() - began)
    after = after_step(state, step)
    outcome = await _rest(after, turn, reply, watch.why)
    await turn.ports.journal.record(step, outcome)
    return outcome or after


async def _rest(state: TurnState, turn: Turn, reply: Reply, why: str) -> Outcome | None:
    """How the turn rests after this reply; None when it goes on."""
    if why:
        return _stopped(state, turn, why)
    if reply.failure:
        fault = Fault.BROKEN if reply.parts else reply.failure.fault
        message = reply.failure.message
        return _outcome(state, Ending.FAILED, code=CODES[fault], message=message)
    if not state.pending:
        return _outcome(state, Ending.DONE)
    if await _next_call(state, turn) is None:
        return _outcome(state, Ending.CLIENT_TOOLS, calls=state.pending)
    return None


def _model_record(state: TurnState, reply: Reply, why: str, seconds: float) -> StepRecord:
    choice, usage = reply.plan.choice, reply.usage()
    text = "".join(reply.parts)
    output: dict[str, object] = {"text": text, "model": choice.ref}
    if why:
        status = "cancelled"
    elif reply.failure:
        status, output["error"] = "error", reply.failure.message
    else:
        status = "ok"
        output["calls"] = [dump_call(call) for call in unique_ids(reply.calls, state)]
        output["reason"] = reply.finished.reason if reply.finished else "stop"
    return StepRecord(
        index=state.steps + 1,
        kind="model",
        name=choice.ref,
        status=status,
        input={"messages": len(reply.plan.request.messages)},
        output=output,
        usage=usage,
        cost_micros=choice.cost_micros(usage),
        seconds=seconds,
    )


# --- A tool's result ----------------------------------------------------------------------------
async def _next_call(state: TurnState, turn: Turn) -> ToolCall | None:
    """The first pending call that is ours to make; one that would end the turn goes before all."""
    if not state.pending:
        return None
    specs = await turn.tools()
    theirs = {spec.name for spec in specs if spec.client}
    ending = {spec.name for spec in specs if spec.ends_turn}
    ours = [call for call in state.pending if call.name not in theirs]
    return next((call for call in ours if call.name in ending), ours[0] if ours else None)


async def _tool_step(state: TurnState, turn: Turn, call: ToolCall) -> TurnState | Outcome:
    if end := await _may_begin(state, turn, Spend(tool_calls=1)):
        return end
    ports, index = turn.ports, state.steps + 1
    known = {spec.name for spec in await turn.tools()}
    key = f"{turn.run_key}:{index}:{call.id}"
    began, result = ports.clock.monotonic(), None
    try:
        async with Watch(ports, turn.seconds_left(state)) as watch:
            result = await answer_call(ports, call, key, known)
    except ToolWaits as waits:
        outcome = _outcome(state, Ending.WAITING, approval_id=waits.approval_id)
        await ports.journal.close(outcome)
        return outcome
    except ToolEnds as ends:
        return await _hand_over(state, turn, call, ends)
    step = _tool_record(index, call, result, ports.clock.monotonic() - began)
    after = after_step(state, step)
    outcome_or_none = await _rest_after_tool(after, turn, watch.why)
    await ports.journal.record(step, outcome_or_none)
    return outcome_or_none or after


def _tool_record(
    index: int, call: ToolCall, result: ToolResult | None, seconds: float
) -> StepRecord:
    return StepRecord(
        index=index,
        kind="tool",
        name=call.name,
        status="cancelled" if result is None else "error" if result.is_error else "ok",
        call_id=call.id,
        input=call.arguments,
        output=None
        if result is None
        else {"content": result.content, "is_error": result.is_error, "data": result.data},
        seconds=seconds,
    )


async def _hand_over(state: TurnState, turn: Turn, call: ToolCall, ends: ToolEnds) -> Outcome:
    """The turn ends with what `call` hands to the caller; other calls of the reply are dropped."""
    step = replace(_tool_record(state.steps + 1, call, None, 0.0), status="interrupted")
    after = after_step(state, step)
    if ends.words and not after.text:
        turn.ports.listener.delta(ends.words)
        after = replace(after, text=ends.words)
    outcome = replace(
        _outcome(after, Ending.HANDED_OVER), handed=(ends.reason, storable(ends.payload))
    )
    await turn.ports.journal.record(step, outcome)
    return outcome


async def _rest_after_tool(state: TurnState, turn: Turn, why: str) -> Outcome | None:
    if why:
        return _stopped(state, turn, why)
    if state.pending and await _next_call(state, turn) is None:
        return _outcome(state, Ending.CLIENT_TOOLS, calls=state.pending)
    return None
