"""Parts of the loop: the request for each model, and one reply with its retries and fallbacks."""

from __future__ import annotations

import logging
import random
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from apps.engine import tracing
from apps.engine.calls import storable
from apps.engine.history import estimate, text_tokens, tool_tokens, trim
from apps.engine.ports import (
    RETRYABLE,
    CallReady,
    Fault,
    ModelRequest,
    ProviderFailed,
    TextDelta,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.engine.ports import Finished, ModelChoice, ToolCall, ToolSpec
    from apps.engine.state import Turn, TurnState

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
LONGEST_WAIT = 30.0  # of what a provider may ask for by Retry-After
REQUEST_SECONDS = 600.0


@dataclass(slots=True)
class Plan:
    """One model with the request it would get, and the most that can cost."""

    choice: ModelChoice
    request: ModelRequest
    worst: Usage


@dataclass(slots=True)
class Reply:
    """What has come of a model's reply."""

    prefix: str
    plan: Plan
    parts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    finished: Finished | None = None
    failure: ProviderFailed | None = None

    def usage(self) -> Usage:
        """As the provider counted; estimated when it never came to say so."""
        if self.finished:
            return self.finished.usage
        if not self.parts:
            return Usage()
        made = text_tokens("".join(self.parts))
        return Usage(self.plan.worst.tokens_in, min(made, self.plan.worst.tokens_out))


async def plans_for(state: TurnState, turn: Turn) -> list[Plan]:
    """A request per model, each trimmed to that model's window."""
    tools = await turn.tools()
    sampling = turn.sampling
    if state.steps and sampling.tool_choice not in (None, "auto", "none"):
        sampling = replace(sampling, tool_choice=None)  # a forced call, once made, is not forced
    left = turn.seconds_left(state)
    seconds = REQUEST_SECONDS if left is None else max(1.0, min(left, REQUEST_SECONDS))
    plans = []
    for choice in turn.ports.models:
        offered, weight = offered_to(choice, tools)
        most = min(sampling.max_tokens or choice.max_output, max(1, choice.window // 2))
        messages = trim(state.messages, window=choice.window, reserve=most + weight)
        request = ModelRequest(
            choice.model, messages, offered, replace(sampling, max_tokens=most), seconds
        )
        plans.append(Plan(choice, request, Usage(estimate(messages) + weight, most)))
    return plans


def offered_to(choice: ModelChoice, tools: Sequence[ToolSpec]) -> tuple[Sequence[ToolSpec], int]:
    """The tools a model is told of, and their weight in tokens.

    None where it calls none, else as many as fit a third of its window. The caller's own come first
    (see `WorkspaceToolBox`): they are the last to go.
    """
    if not getattr(choice.provider, "offer_tools", True):
        return (), 0
    room, weight = choice.window // 3, 0
    for count, tool in enumerate(tools):
        tokens = tool_tokens(tool)
        if weight + tokens > room:
            return tools[:count], weight
        weight += tokens
    return tools, weight


async def ask(turn: Turn, plans: list[Plan], reply: Reply) -> None:
    """Ask the models in order, each again after a fault that may pass, until one answers.

    What has been heard is not taken back: after the first token a fault is final.
    """
    for plan in plans:
        reply.plan = plan
        for attempt in range(turn.limits.retries + 1):
            reply.calls.clear()
            reply.finished = reply.failure = None
            try:
                return await _listen(turn, reply)
            except ProviderFailed as failure:
                reply.failure = failure
            if reply.parts:
                return None
            pause = pause_before_retry(attempt, reply.failure)
            if pause is None or attempt == turn.limits.retries:
                break
            await turn.ports.clock.sleep(pause)
    return None


def pause_before_retry(attempt: int, failure: ProviderFailed) -> float | None:
    """Seconds to wait after failed `attempt` (from 0); None: do not try again."""
    if failure.fault not in RETRYABLE:
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= LONGEST_WAIT else None
    return min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311


async def _listen(turn: Turn, reply: Reply) -> None:
    """The hot path: every token comes through here."""
    hear, parts, plan = turn.ports.listener.delta, reply.parts, reply.plan
    with tracing.span(
        "chat " + plan.choice.model,
        gen_ai__operation__name="chat",
        gen_ai__request__model=plan.choice.model,
        gen_ai__provider__name=plan.choice.provider.name,
    ) as span:
        try:
            async with aclosing(plan.choice.provider.stream(plan.request)) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, TextDelta):
                        text = event.text
                        if "\0" in text or not text.isascii():
                            text = storable(text)
                        if text:
                            hear(text if parts else reply.prefix + text)
                            parts.append(text)
                    elif isinstance(event, CallReady):
                        reply.calls.append(event.call)
                    else:
                        reply.finished = event
        except ProviderFailed:
            raise
        except Exception as error:
            log.exception("the provider %s failed in an unforeseen way", plan.choice.ref)
            raise ProviderFailed(Fault.SERVER, "The model provider failed.") from error
        if reply.finished is None:
            raise ProviderFailed(Fault.BROKEN, "The model's reply has no end.")
        span.set_attribute("gen_ai.usage.input_tokens", reply.finished.usage.tokens_in)
        span.set_attribute("gen_ai.usage.output_tokens", reply.finished.usage.tokens_out)
