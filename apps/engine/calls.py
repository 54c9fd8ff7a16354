"""Parts of the loop: stopping a step from outside, and answering one tool call."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from apps.engine import tracing
from apps.engine.ports import Denied, LeaseLost, NeedsHuman, ToolResult, ToolWaits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from types import TracebackType

    from apps.engine.ports import Ports, ToolCall
    from apps.engine.state import TurnState

log = logging.getLogger(__name__)

MAX_RESULT = 1_000_000  # characters of a tool's result that a model is sent


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
    """The result of `call`: of the tool, or in words why not. Raises `ToolWaits`."""
    refusal = await _refusal(ports, call, key, known)
    began = ports.clock.monotonic()
    ports.listener.call_started(call)
    result = refusal or await _run(ports, call, key)
    if len(result.content) > MAX_RESULT:
        result = replace(result, content=result.content[:MAX_RESULT] + "\n[… cut]")
    ports.listener.call_ended(call, result, ports.clock.monotonic() - began)
    return result


async def _refusal(
    ports: Ports, call: ToolCall, key: str, known: Collection[str]
) -> ToolResult | None:
    """Why the call is not made, as an error for the model; None when it may be."""
    if call.name not in known:
        return ToolResult(f"There is no tool called {call.name!r}.", is_error=True)
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
        except (ToolWaits, LeaseLost):
            raise
        except Exception:
            log.exception("the tool %s failed in an unforeseen way", call.name)
            return ToolResult("The tool failed.", is_error=True)


def unique_ids(calls: Iterable[ToolCall], state: TurnState) -> tuple[ToolCall, ...]:
    """The calls of one reply, each with an id that no other call of the conversation has."""
    taken = {call.id for message in state.messages for call in message.tool_calls}
    result = []
    for place, call in enumerate(calls):
        if not call.id or call.id in taken:
            call = replace(call, id=f"call_{state.steps + 1}_{place}")  # noqa: PLW2901
        taken.add(call.id)
        result.append(call)
    return tuple(result)
