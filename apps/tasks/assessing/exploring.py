"""A reviewer's first phase: a look at the workspace's files, reading only (contract §6.3, phase 1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from apps.core import tools
from apps.core.tools import ToolContext
from apps.engine.ports import ChatMessage, Ending, Limits
from apps.formations.policy import current_policy
from apps.formations.toolbox import WorkspaceToolBox
from apps.runs.models import StepKind
from apps.tasks.assessing.answers import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.engine.ports import ModelChoice, StepRecord, ToolBox, ToolCall, ToolResult, ToolSpec
    from apps.runs.bench import Bench

READING = ("read_file", "list_files", "glob", "grep_files")
MOST_REPLIES, NUDGE_AT = 20, 15
LOOK_SECONDS = 300.0
CALLS_A_REPLY = 10
LONGEST_ANALYSIS = 4_000  # characters
LONGEST_MESSAGE = 200
TASK = (
    "Look at the files first: read what the result rests on and check what it claims. Then write a short "
    "analysis of what is right, what is wrong and what is missing, naming files and lines. No scores yet."
)


async def explored(
    bench: Bench,
    models: Sequence[ModelChoice],
    messages: Sequence[ChatMessage],
    *,
    key: str,
) -> dict[str, Any]:
    """{analysis, filesRead, messages}. Raises NoAnswer when the model said nothing at all."""
    outcome = await bench.turn(
        [*messages, ChatMessage("user", TASK)],
        models,
        key=key,
        toolbox=Nudging(await _toolbox(bench), bench, key),
        limits=Limits(steps=MOST_REPLIES * CALLS_A_REPLY, seconds=LOOK_SECONDS, retries=1),
        replies=MOST_REPLIES,
    )
    # Out of replies or steps, but not of words: what was found so far counts.
    if outcome.ending not in {Ending.DONE, Ending.BUDGET} or not outcome.text.strip():
        raise NoAnswer([outcome.message or f"The reviewer found no words ({outcome.ending})."])
    steps = bench.steps_of(key)
    said = [str((step.output or {}).get("text") or "") for step in steps if step.kind == "model"]
    return {
        "analysis": outcome.text.strip()[-LONGEST_ANALYSIS:],
        "filesRead": _files_read(steps),
        "messages": [text.strip()[:LONGEST_MESSAGE] for text in said if text.strip()],
    }


def _files_read(steps: Sequence[StepRecord]) -> list[str]:
    read = (step.input for step in steps if step.name == "read_file" and step.status == "ok")
    return list(dict.fromkeys(str((given or {}).get("path", "")) for given in read))


async def _toolbox(bench: Bench) -> ToolBox:
    """Reading tools that need nobody's permission: a review has nobody to ask."""
    policy = await current_policy(bench.actor)
    free = [name for name in READING if not policy.needs_human(name, tools.find(name))]
    context = ToolContext(bench.actor, bench.hold.run_id, None, None, key="")
    return await WorkspaceToolBox.open(context, free)


class Nudging:
    """A toolbox that says when it is time to come to an end. Implements `engine.ports.ToolBox`."""

    def __init__(self, inner: ToolBox, bench: Bench, key: str) -> None:
        self._inner, self._bench, self._key = inner, bench, key

    async def specs(self) -> Sequence[ToolSpec]:
        return await self._inner.specs()

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        result = await self._inner.call(call, key=key)
        steps = self._bench.steps_of(self._key)
        left = MOST_REPLIES - sum(step.kind == StepKind.MODEL for step in steps)
        if left > MOST_REPLIES - NUDGE_AT:
            return result
        words = f"\n\n[You have {left} replies left. Come to an end and write your analysis.]"
        return replace(result, content=result.content + words)
