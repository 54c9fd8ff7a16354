"""What a run of kind `review` is: work about a task that may ask models and run commands.

`assess` judges the task's result; apps above register further kinds (`on_work`).
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.core.rows import execute
from apps.engine.calls import storable
from apps.engine.chosen import models_for
from apps.engine.ports import ChatMessage, Ending, ToolSpec
from apps.runs.kinds import Rest
from apps.runs.models import Run
from apps.tasks.assessing.answers import NoAnswer, structured
from apps.tasks.assessing.assess import assess
from apps.tasks.models import Task
from apps.tasks.selectors import get_task
from apps.tasks.services import judging
from apps.tasks.services.outcomes import preferences_of

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.engine.ports import Outcome
    from apps.runs.bench import Bench
    from apps.runs.holding import Hold
    from apps.tasks.services.judging import Work

log = logging.getLogger(__name__)
ANSWER = "answer"

_LOCK = """SELECT 1 FROM tasks_task WHERE workspace_id = %s AND id = (
    SELECT subject_id FROM runs_run WHERE workspace_id = %s AND id = %s AND kind = 'review') FOR UPDATE"""

_works: dict[str, Work] = {}


def on_work(name: str, work: Work) -> None:
    """Called once, in `ready()`: what `services.judging.open_work(…, name, …)` opens."""
    _works[name] = work


class ReviewRuns:
    """Handler of `RunKind.REVIEW`, on a bench. Input: `{"work": name, "told": {...}}`."""

    agent_key = "reviewer"

    async def work(self, bench: Bench, run_input: dict[str, Any]) -> str:
        """JSON of what was found."""
        name, told = run_input["work"], run_input["told"]
        task_id = await db_call(_subject_of, bench.hold)
        if name == judging.ASSESS:
            found: Any = await assess(bench, task_id, told)
        else:
            found = await _asked(bench, name, task_id, told)
        return json.dumps(storable(found))

    def lock(self, hold: Hold) -> None:
        """The task stands above its runs."""
        execute(_LOCK, [hold.workspace_id, hold.workspace_id, hold.run_id])

    def rested(self, actor: Actor, hold: Hold, outcome: Outcome) -> Rest:
        """Conclude on the locked task; one that is gone needs no conclusion."""
        runs = Run.objects.in_workspace(hold.workspace_id).filter(pk=hold.run_id)
        subject, run_input = runs.values_list("subject_id", "input").get()
        tasks = Task.objects.in_workspace(hold.workspace_id).select_for_update()
        task = tasks.filter(pk=subject).first()
        if task is None:
            return Rest()
        return Rest(_concluded(actor, task, run_input, outcome))

    def woken(self, actor: Actor, hold: Hold) -> None:
        """A review waits for nobody."""


def _subject_of(hold: Hold) -> UUID:
    runs = Run.objects.in_workspace(hold.workspace_id).filter(pk=hold.run_id)
    subject: UUID = runs.values_list("subject_id", flat=True).get()
    return subject


def _concluded(actor: Actor, task: Task, run_input: dict[str, Any], outcome: Outcome) -> list[Fact]:
    name, told = run_input["work"], run_input["told"]
    found = json.loads(outcome.text) if outcome.ending is Ending.DONE else None
    if name == judging.ASSESS:
        if found is not None:
            return judging.conclude_assessment(actor, task, told, found)
        words = outcome.message or f"it was {outcome.ending}."
        return judging.fail_assessment(actor, task, told, words)
    try:
        with transaction.atomic():
            return _works[name].concluded(actor, task, told, found)
    except (DomainError, KeyError):
        # What it was about has changed meanwhile. The run ends all the same: nobody could end it later.
        log.warning("work %s on task %s could not be concluded", name, task.pk, exc_info=True)
        return []


async def _asked(
    bench: Bench, name: str, task_id: UUID, told: dict[str, Any]
) -> dict[str, Any] | None:
    """The answer of a model; None when none could be asked or none fits."""
    try:
        question = await db_call(_question, bench.actor, name, task_id, told)
        prompt, schema, ref, fallback = question
        models = await models_for(ref, fallback, workspace_id=bench.actor.workspace_id)
        tool = ToolSpec(ANSWER, "Hand in your answer.", schema)
        answer, _ = await structured(bench, models, [ChatMessage("user", prompt)], tool, key="work")
    except (DomainError, NoAnswer, KeyError):  # KeyError: who opened it is not installed any more
        log.info("work on task %s has no answer", task_id, exc_info=True)
        return None
    return answer


def _question(
    actor: Actor, name: str, task_id: UUID, told: dict[str, Any]
) -> tuple[str, dict[str, Any], str, str]:
    """(prompt, schema, the judge's model, its fallback). DomainError."""
    task = get_task(actor, task_id)
    prompt, schema = _works[name].question(actor, task, told)
    preferences = preferences_of(actor)
    ref = preferences.judge_model or preferences.default_model
    return prompt, schema, ref, preferences.fallback_model
