"""A judge for tests: a scripted provider that answers by what it is asked for.

It is asked through tools (`submit_review`, `choose_dimensions`, …) or in words; `on(...)` says what each
is answered with, in order, the last one for ever.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from apps.engine import choice
from apps.engine.ports import ToolCall
from apps.engine.providers.scripted import Line, Scripted, _replies

if TYPE_CHECKING:
    from apps.engine.ports import ModelRequest

_numbers = itertools.count(1)
WORDS, LOOK = "words", "look"  # asked without tools; asked to look at files
NAMES = ("correctness", "completeness", "code_quality", "edge_cases")


def submits(score: float = 4, *, names: tuple[str, ...] = NAMES, **scores: float) -> Line:
    """A review with this score everywhere but where another is named."""
    given = [
        {"dimension": name, "score": scores.get(name, score), "reasoning": f"{name} as seen"}
        for name in names
    ]
    return answers("submit_review", scores=given, summary="As it is.")


def answers(tool: str, **arguments: Any) -> Line:
    return Line(calls=(ToolCall(f"c-{tool}", tool, arguments),))


class Judge(Scripted):
    """`asked`: what every request was for."""

    def __init__(self) -> None:
        super().__init__(())
        self.model = f"judge-{next(_numbers)}"
        self.asked: list[str] = []
        self._answers: dict[str, list[Line]] = {}

    def on(self, what: str, *lines: Line) -> Judge:
        self._answers[what] = list(lines)
        return self

    def _line(self, request: ModelRequest) -> Line:
        names = [spec.name for spec in request.tools]
        what = LOOK if "read_file" in names else names[0] if names else WORDS
        self.asked.append(what)
        lines = self._answers.get(what) or [Line(("I do not know.",))]
        if what == LOOK:  # reviewers look side by side: each is at a place of its own
            return lines[min(_replies(request), len(lines) - 1)]
        return lines.pop(0) if len(lines) > 1 else lines[0]


def seat(monkeypatch: Any, world: Any) -> Judge:
    """Make a judge the workspace's judge model."""
    judge = Judge()
    found = choice.scripted_provider
    monkeypatch.setattr(
        choice, "scripted_provider", lambda name: judge if name == judge.model else found(name)
    )
    world.prefer(judge_model=f"scripted/{judge.model}")
    return judge
