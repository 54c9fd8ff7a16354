"""What was done on a task, for its page: attempts and reviews with their journals, files, judgements.

Bounded: the newest runs, of the newest of them the newest steps, of each step the beginning of its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left

from apps.console import show
from apps.core.actor import Actor
from apps.core.redact import redacted
from apps.runs.models import Run, Step, StepKind
from apps.runs.selectors import files_touched
from apps.tasks.models import Assessment, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

MOST_RUNS = 20
MOST_READ = 4  # runs whose journal is shown; the others are links
MOST_STEPS = 60  # of one run, newest
MOST_ASSESSMENTS = 20
LONGEST_TEXT = 4_000  # characters of a reply, an argument, a result
MOST_NEEDS = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One step. `said`: a model's words or a tool's result; `arguments`: what the tool was called with."""

    step: Step
    said: str
    arguments: str
    took: str

    @property
    def is_tool(self) -> bool:
        return self.step.kind == StepKind.TOOL


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run for this task. `hidden`: earlier steps that are not shown; `lines` None: none is."""

    run: Run
    lines: Sequence[Line] | None
    hidden: int
    created: Sequence[str]
    edited: Sequence[str]


def transcript_of(task: Task) -> dict[str, Any]:
    """Five queries, and one more where the task depends on others."""
    runs = _runs(task)
    read = runs[:MOST_READ]
    lines = _lines(task.workspace_id, read)
    actor = Actor.for_system(task.workspace_id)
    touched = files_touched(actor, [run.pk for run in runs]) if runs else {}
    assessments = Assessment.objects.in_workspace(task.workspace_id).filter(task_id=task.pk)
    return {
        "task": task,
        "attempts": [_attempt(run, lines.get(run.pk), touched) for run in runs],
        "assessments": list(assessments.order_by("-number")[:MOST_ASSESSMENTS]),
        "needs": _needs(task),
        "result": _result(task),
        "most_runs": MOST_RUNS,
    }


def _runs(task: Task) -> list[Run]:
    """Newest first."""
    rows = Run.objects.in_workspace(task.workspace_id).filter(
        session_id__isnull=True, subject_id=task.pk, subject_type="task"
    )
    shown = rows.select_related("agent").defer("input", "limits")
    return list(shown.order_by("-created_at")[:MOST_RUNS])


def _lines(workspace_id: UUID, runs: Sequence[Run]) -> dict[UUID, list[Line]]:
    """Run -> its newest steps, oldest first. One query."""
    if not runs:
        return {}
    wanted = Q()
    for run in runs:
        wanted |= Q(run_id=run.pk, index__gt=run.steps - MOST_STEPS)
    steps = Step.objects.in_workspace(workspace_id).filter(wanted).defer("output")
    steps = steps.annotate(
        text=Left(KeyTextTransform("text", "output"), LONGEST_TEXT + 1),
        content=Left(KeyTextTransform("content", "output"), LONGEST_TEXT + 1),
    )
    found: dict[UUID, list[Line]] = {run.pk: [] for run in runs}
    for step in steps.order_by("run_id", "index")[: MOST_READ * (MOST_STEPS + 1)]:
        found[step.run_id].append(_line(step))
    return found


def _line(step: Any) -> Line:
    is_tool = step.kind == StepKind.TOOL
    said = step.content if is_tool else step.text
    took = show.duration((step.finished_at - step.started_at).total_seconds())
    return Line(step, _cut(said or ""), _arguments(step.input) if is_tool else "", took)


def _arguments(value: Any) -> str:
    """As the live stream tells them: secrets by their names hidden."""
    if value in (None, {}, ""):
        return ""
    hidden = redacted(value, longest=LONGEST_TEXT, most=200)
    return _cut(json.dumps(hidden, indent=2, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n…"


def _attempt(
    run: Run, lines: Sequence[Line] | None, touched: Mapping[UUID, tuple[list[str], list[str]]]
) -> Attempt:
    created, edited = touched.get(run.pk, ([], []))
    hidden = max(0, run.steps - len(lines)) if lines is not None else run.steps
    return Attempt(run, lines, hidden, created[:100], edited[:100])


def _needs(task: Task) -> list[Task]:
    """What it depends on."""
    if not task.depends_on:
        return []
    rows = Task.objects.in_workspace(task.workspace_id).filter(pk__in=task.depends_on)
    return list(rows.only("title", "status").order_by("created_at", "id")[:MOST_NEEDS])


def _result(task: Task) -> dict[str, Any]:
    result = task.result or {}
    return {
        "exit_code": result.get("exitCode"),
        "took": show.duration(result["duration"] / 1000) if result.get("duration") else "",
        "stdout": _cut(str(result.get("stdout") or "")),
        "stderr": _cut(str(result.get("stderr") or "")),
        "is_there": bool(result),
    }
