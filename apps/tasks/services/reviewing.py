"""The seam to whoever judges results: registered at start, called when a result waits for judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from apps.runs.models import Run
from apps.runs.selectors import files_touched

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.tasks.models import Task
    from apps.workspaces.preferences import Preferences

LONGEST_QUESTION = 2_000  # characters
FEW_CALLS = 5


class Opener(Protocol):
    """Opens the review of a locked task in `review`, in the caller's transaction; returns the facts.

    Sooner or later it ends with `services.outcomes.conclude`.
    """

    def __call__(self, actor: Actor, task: Task, trigger: str) -> list[Fact]: ...


_opener: Opener | None = None


def on_review(opener: Opener | None) -> None:
    """Called once, in `ready()`: who reviews results."""
    global _opener  # noqa: PLW0603
    _opener = opener


def open_review(actor: Actor, task: Task, trigger: str) -> list[Fact]:
    """Have the result of a locked task judged; the caller publishes the facts."""
    if _opener is None:
        raise RuntimeError("nobody reviews results: call on_review(...) in an app's ready()")
    return _opener(actor, task, trigger)


def needs_review(actor: Actor, task: Task, preferences: Preferences) -> bool:
    """There is something to hold the result against, or it looks like a question."""
    return bool(task.expectations or task.metrics) or may_be_question(actor, task, preferences)


def may_be_question(actor: Actor, task: Task, preferences: Preferences) -> bool:
    """Contract/polpo.md §5.5 step 4: short, a question mark near its end, hardly any work done."""
    text = str((task.result or {}).get("stdout") or "").strip()
    if task.question_rounds >= preferences.max_question_rounds or task.run_id is None:
        return False
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) > LONGEST_QUESTION or not any("?" in line for line in lines[-3:]):
        return False
    runs = Run.objects.in_workspace(actor.workspace_id).filter(pk=task.run_id)
    few = runs.filter(tool_calls__lt=FEW_CALLS).exists()
    return few and not files_touched(actor, [task.run_id])
