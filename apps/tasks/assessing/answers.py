"""Asking a model for an answer of a given shape.

First through a tool it must call, then in words alone; JSON in its text is taken either way. What does
not fit the schema is no answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from apps.engine.ports import ChatMessage, Ending, Limits, Sampling, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apps.engine.ports import ModelChoice, Outcome
    from apps.runs.bench import Bench

ANSWER_SECONDS = 180.0
MOST_STARTS = 40  # places in a text where a JSON object is looked for
LONGEST_TEXT = 200_000
# The model spoke, or refused the way it was asked: another way may do. Other faults stay.
WORTH_OTHER_WORDS = frozenset({"", "upstream_rejected", "step_limit"})


class NoAnswer(Exception):
    """No answer that fits. `problems`: one line for each try."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problems))


async def structured(
    bench: Bench,
    models: Sequence[ModelChoice],
    messages: Sequence[ChatMessage],
    tool: ToolSpec,
    *,
    key: str,
) -> tuple[dict[str, Any], list[str]]:
    """(the arguments of `tool` as the model gave them, what went wrong before). Raises NoAnswer."""
    problems: list[str] = []
    for way, words in (("tool", ""), ("words", _in_words(tool))):
        outcome = await bench.turn(
            [*messages, ChatMessage("user", words)] if words else messages,
            models,
            key=f"{key}:{way}",
            sampling=Sampling() if words else Sampling(tool_choice=_forced(tool)),
            client_tools=() if words else (tool,),
            limits=Limits(steps=2, seconds=ANSWER_SECONDS, retries=1),
        )
        found, problem = await asyncio.to_thread(_answer_in, outcome, tool)
        if found is not None:
            return found, problems
        problems.append(problem)
        if outcome.code not in WORTH_OTHER_WORDS:
            break
    raise NoAnswer(problems)


def _forced(tool: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.name}}


def _in_words(tool: ToolSpec) -> str:
    schema = json.dumps(tool.parameters, ensure_ascii=False)
    return f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{schema}"


def _answer_in(outcome: Outcome, tool: ToolSpec) -> tuple[dict[str, Any] | None, str]:
    """What fits, or the reason why nothing does. Loads the validator: not on the loop."""
    if outcome.ending not in {Ending.DONE, Ending.CLIENT_TOOLS}:
        return None, outcome.message or f"The model did not answer ({outcome.ending})."
    problem = "The model did not answer in the form it was asked for."
    given = [call for call in outcome.calls if call.name == tool.name]
    if any(call.error for call in given):
        problem = "The arguments of the call are not valid JSON."
    tries = [call.arguments for call in given if not call.error]
    for answer in [*tries, *objects_in(outcome.text)]:
        wrong = misfit(answer, tool.parameters)
        if not wrong:
            return answer, ""
        problem = wrong
    return None, problem


def misfit(answer: Any, schema: dict[str, Any]) -> str:
    """What is wrong with `answer`, "" when it fits `schema`."""
    from apps.formations.validation import problems  # late: jsonschema takes 100 ms to load

    digest = hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()
    return "; ".join(problems(f"answer:{digest}", schema, answer, foreign=False))


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in a text, whatever is written around them."""
    text, decoder, place = text[:LONGEST_TEXT], json.JSONDecoder(), 0
    for _ in range(MOST_STARTS):
        place = text.find("{", place)
        if place < 0:
            return
        try:
            found, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        yield found
