"""Parts of the loop: stopping a step from outside, and answering one tool call."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from apps.engine import tracing
from apps.engine.ports import (
    Denied,
    LeaseLost,
    NeedsHuman,
    ToolEnds,
    ToolResult,
    ToolWaits,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from types import TracebackType

    from apps.engine.ports import Ports, ToolCall
    from apps.engine.state import TurnState

log = logging.getLogger(__name__)

MAX_RESULT = 1_000_000  # characters of a tool's result that a model is sent
MAX_ID = 100
MAX_DEPTH = 64


def storable(value: Any, depth: int = 0) -> Any:
    """`value` as PostgreSQL's JSON can hold it: no NUL, no lone surrogate, no NaN, not too deep.

    A model or a tool may say any of these, and a step that cannot be journaled would never end.
    """
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
        return "[nested too deep]"
    if isinstance(value, dict):
        return {storable(str(key)): storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item, depth + 1) for item in value]
    return value


class Watch:
    """Ends the step inside it when the run is cancelled or its time is over.

    `why`: "", "cancel" or "time". One or two tasks a step, none a token: they cancel the task that
    does the step, and the cancellation stops here. A cancellation from elsewhere passes through.
    """

    def __init__(self, ports: Ports, seconds: float | None) -> None:
        self.why = ""
        self._waits: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
            ("cancel", ports.cancel.wait)
        ]
        if seconds is not None:
            self._waits.append(("time", partial(ports.clock.sleep, max(0.0, seconds))))
        self._watchers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._watchers = [asyncio.create_task(self._on(*wait)) for wait in self._waits]
        return self

    async def _on(self, why: str, event: Callable[[], Awaitable[Any]]) -> None:
        await event()
        if not self.why:
            self.why = why
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> bool:
        for watcher in self._watchers:
            watcher.cancel()
        if not self.why:
            return False
        alone = self._task.uncancel() <= self._cancelling
        return alone and kind is not None and issubclass(kind, asyncio.CancelledError)


async def answer_call(ports: Ports, call: ToolCall, key: str, known: Collection[str]) -> ToolResult:
    """The result of `call`: of the tool, or in words why not. Raises `ToolWaits`, `ToolEnds`."""
    refusal = await _refusal(ports, call, key, known)
    began = ports.clock.monotonic()
    ports.listener.call_started(call)
    result = refusal or await _run(ports, call, key)
    result = replace(result, content=storable(result.content), data=storable(result.data))
    if len(result.content) > MAX_RESULT:
        result = replace(result, content=result.content[:MAX_RESULT] + "\n[… cut]")
    ports.listener.call_ended(call, result, ports.clock.monotonic() - began)
    return result


async def _refusal(
    ports: Ports, call: ToolCall, key: str, known: Collection[str]
) -> ToolResult | None:
    """Why the call is not made, as an error for the model; None when it may be."""
    if call.name not in known:
        return ToolResult(f"There is no tool called {call.name[:MAX_ID]!r}.", is_error=True)
    if call.error:
        return ToolResult(call.error, is_error=True)
    verdict = await ports.gate.may(call, key=key)
    if isinstance(verdict, NeedsHuman):
        raise ToolWaits(verdict.approval_id)
    if isinstance(verdict, Denied):
        return ToolResult(f"This call was not allowed: {verdict.reason}", is_error=True)
    return None


async def _run(ports: Ports, call: ToolCall, key: str) -> ToolResult:
    with tracing.span(
        "execute_tool " + call.name,
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=call.name,
    ):
        try:
            return await ports.toolbox.call(call, key=key)
        except (ToolWaits, ToolEnds, LeaseLost):
            raise
        except Exception:
            log.exception("the tool %s failed in an unforeseen way", call.name)
            return ToolResult("The tool failed.", is_error=True)


def unique_ids(calls: Iterable[ToolCall], state: TurnState) -> tuple[ToolCall, ...]:
    """The calls of one reply as they are journaled, each with an id of its own in the conversation."""
    taken = {call.id for message in state.messages for call in message.tool_calls}
    result = []
    for place, call in enumerate(calls):
        known = storable(call.id)
        if not known or known in taken or len(known) > MAX_ID:
            known = f"call_{state.steps + 1}_{place}"
        taken.add(known)
        name, arguments = storable(call.name), storable(call.arguments)
        result.append(replace(call, id=known, name=name, arguments=arguments))
    return tuple(result)
