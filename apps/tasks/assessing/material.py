"""What is judged: the task as it was when its review was opened, and what its attempt left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.engine.chosen import models_for
from apps.runs.models import Step, StepKind
from apps.runs.selectors import files_touched
from apps.tasks.briefs import cut, original_of
from apps.tasks.models import Task
from apps.tasks.prompt import block
from apps.tasks.services.outcomes import preferences_of
from apps.tasks.services.reviewing import may_be_question
from apps.workspaces.files import files_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.engine.ports import ModelChoice
    from apps.workspaces.preferences import Preferences

MOST_CALLS = 60  # the newest tool calls of the attempt that reviewers are told of
LONGEST_CALL = 300  # characters of each
LONGEST_OUTCOMES = 8_000
COMMANDS = frozenset({"run_command"})  # they may touch files that no journal names


@dataclass(frozen=True, slots=True)
class Material:
    """`touched`: paths the attempt wrote or registered, the newest last; `uses_files`: it may have
    touched others, too. `calls`: its tool calls in words. `may_ask`: its result looks like a question.
    """

    workspace_id: UUID
    task_id: UUID
    title: str
    description: str
    result: Mapping[str, Any]
    outcomes: Sequence[Mapping[str, Any]]
    expectations: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    preferences: Preferences
    root: Path
    touched: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    uses_files: bool = False
    may_ask: bool = False

    @property
    def exit_code(self) -> int:
        return int(self.result.get("exitCode") or 0)

    async def models(self) -> list[ModelChoice]:
        """Who judges: the workspace's judge, else its model, else the installation's. DomainError."""
        preferences = self.preferences
        ref = preferences.judge_model or preferences.default_model
        return await models_for(ref, preferences.fallback_model, workspace_id=self.workspace_id)

    def told(self) -> str:
        """The task and its result as a model reads them; nothing in it can close its block."""
        outcomes = json.dumps(list(self.outcomes), ensure_ascii=False, default=str)
        parts = [
            block("task", f"{self.title}\n\n{cut(self.description)}"),
            block("result", cut(str(self.result.get("stdout") or "")) or "(it said nothing)"),
            block("outcomes", outcomes[:LONGEST_OUTCOMES]) if self.outcomes else "",
            block("files_touched", "\n".join(self.touched)),
            block("tool_calls", "\n".join(self.calls)),
        ]
        return "\n\n".join(part for part in parts if part)


def load_material(actor: Actor, task_id: UUID, told: Mapping[str, Any]) -> Material | None:
    """Reads what the review needs; None when the task is gone. `told`: the review run's input."""
    task = Task.objects.in_workspace(actor.workspace_id).filter(pk=task_id).first()
    if task is None:
        return None
    preferences = preferences_of(actor)
    used, calls = _calls(actor, task.run_id)
    touched = _touched(actor, task, used)
    return Material(
        workspace_id=actor.workspace_id,
        task_id=task_id,
        title=task.title,
        description=original_of(task),
        result=task.result or {},
        outcomes=task.outcomes,
        expectations=list(told.get("expectations") or ()),
        metrics=list(told.get("metrics") or ()),
        preferences=preferences,
        root=files_root(actor.workspace_id),
        touched=touched,
        calls=calls,
        uses_files=bool(touched) or not COMMANDS.isdisjoint(used),
        may_ask=may_be_question(actor, task, preferences),
    )


def _touched(actor: Actor, task: Task, used: set[str]) -> list[str]:
    runs = files_touched(actor, [task.run_id]) if used and task.run_id else {}
    paths = [path for created, edited in runs.values() for path in (*created, *edited)]
    registered = [str(outcome["path"]) for outcome in task.outcomes if outcome.get("path")]
    return list(dict.fromkeys([*paths, *registered]))


def _calls(actor: Actor, run_id: UUID | None) -> tuple[set[str], list[str]]:
    """(the names of the newest tools called, the calls in words)"""
    if run_id is None:
        return set(), []
    steps = Step.objects.in_workspace(actor.workspace_id).filter(run_id=run_id)
    rows = steps.filter(kind=StepKind.TOOL).order_by("-index")
    newest = list(rows.values_list("name", "status", "input")[:MOST_CALLS])[::-1]
    lines = [
        f"{name} {json.dumps(arguments, ensure_ascii=False)[:LONGEST_CALL]} -> {status}"
        for name, status, arguments in newest
    ]
    return {name for name, _, _ in newest}, lines
