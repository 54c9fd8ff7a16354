"""What a turn is: what stays (`Turn`), what changes between two steps (`TurnState`), and how the
latter is rebuilt from the journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from apps.engine.ports import ChatMessage, Limits, Sampling, Spend, StepRecord, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.engine.ports import Ports, ToolSpec

BREAK = "\n\n"  # between the texts of two replies of one turn


@dataclass(frozen=True, slots=True)
class TurnState:
    """`messages` are what the next model call is sent; `pending` the calls still to answer.

    `steps` are journaled steps (the next has index steps + 1). `text` is the turn's whole text so
    far: exactly what the listener heard; `last` is the newest reply's. `started` is the clock's
    monotonic time of this life of the turn (None: not begun); `elapsed` seconds were used by earlier ones.
    """

    messages: tuple[ChatMessage, ...]
    pending: tuple[ToolCall, ...] = ()
    steps: int = 0
    spent: Spend = field(default_factory=Spend)
    usage: Usage = field(default_factory=Usage)
    started: float | None = None
    elapsed: float = 0.0
    text: str = ""
    last: str = ""
    reason: str = "stop"
    model: str = ""


@dataclass(slots=True)
class Turn:
    """What does not change during a turn. `run_key` begins every idempotency key."""

    ports: Ports
    run_key: str
    sampling: Sampling = field(default_factory=Sampling)
    client_tools: Sequence[ToolSpec] = ()
    limits: Limits = field(default_factory=Limits)
    offered: tuple[ToolSpec, ...] | None = None

    async def tools(self) -> tuple[ToolSpec, ...]:
        """The tools offered to the model; asked for once. The caller's own come last."""
        if self.offered is None:
            mine = tuple(await self.ports.toolbox.specs())
            names = {spec.name for spec in mine}
            theirs = (spec for spec in self.client_tools if spec.name not in names)
            self.offered = (*mine, *(replace(spec, client=True) for spec in theirs))
        return self.offered

    def seconds_left(self, state: TurnState) -> float | None:
        if not self.limits.seconds:
            return None
        started = self.ports.clock.monotonic() if state.started is None else state.started
        return self.limits.seconds - state.elapsed - (self.ports.clock.monotonic() - started)


def joint(state: TurnState) -> str:
    """What goes before the next reply's text."""
    return BREAK if state.text and not state.text.endswith("\n") else ""


def joined(state: TurnState, text: str) -> str:
    """The turn's text with the next reply's `text` after it."""
    return state.text + joint(state) + text if text else state.text


def after_step(state: TurnState, step: StepRecord) -> TurnState:
    """The state once `step` is journaled. Used by the loop and by `rebuild`: one truth."""
    usage, spent = step.usage, state.spent
    state = replace(
        state,
        steps=step.index,
        spent=Spend(
            spent.tokens + usage.tokens_in + usage.tokens_out,
            spent.cost_micros + step.cost_micros,
            spent.tool_calls + (step.kind == "tool"),
        ),
        usage=Usage(
            state.usage.tokens_in + usage.tokens_in,
            state.usage.tokens_out + usage.tokens_out,
            state.usage.cached_in + usage.cached_in,
        ),
    )
    if step.kind == "tool":
        if step.status == "interrupted":  # it ended the turn: nothing else is answered
            return replace(state, pending=())
        return state if step.status == "cancelled" else _answered(state, step)
    output = step.output or {}
    if step.status == "ok":
        return _replied(state, output)
    text = output.get("text") or ""
    return replace(state, text=joined(state, text), last=text or state.last)


def _replied(state: TurnState, output: dict[str, Any]) -> TurnState:
    calls = tuple(map(load_call, output.get("calls") or ()))
    text = output.get("text") or ""
    message = ChatMessage("assistant", text, tool_calls=calls)
    return replace(
        state,
        messages=(*state.messages, message),
        pending=calls,
        text=joined(state, text),
        last=text or state.last,
        reason=output.get("reason") or "stop",
        model=output.get("model") or "",
    )


def _answered(state: TurnState, step: StepRecord) -> TurnState:
    content = (step.output or {}).get("content") or ""
    message = ChatMessage("tool", content, tool_call_id=step.call_id)
    return replace(
        state,
        messages=(*state.messages, message),
        pending=tuple(call for call in state.pending if call.id != step.call_id),
    )


def rebuild(messages: Sequence[ChatMessage], steps: Sequence[StepRecord]) -> TurnState:
    """The state of a turn that began with `messages` and journaled `steps` (in any order)."""
    state = TurnState(tuple(messages))
    for step in sorted(steps, key=lambda step: step.index):
        state = after_step(state, step)
    return replace(state, elapsed=sum(step.seconds for step in steps))


def dump_call(call: ToolCall) -> dict[str, Any]:
    """As it is journaled."""
    result = {"id": call.id, "name": call.name, "arguments": call.arguments}
    return {**result, "error": call.error} if call.error else result


def load_call(data: dict[str, Any]) -> ToolCall:
    return ToolCall(data["id"], data["name"], data["arguments"], data.get("error", ""))
