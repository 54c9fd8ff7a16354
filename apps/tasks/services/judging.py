"""Verdicts on results, and other work that asks a model about a task: opened here, concluded here.

Each is a run of kind `review` (`tasks.reviewing` carries it). What it concludes is written in the
closing transaction of its run, on the locked task.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from apps.accounts.services import record_change
from apps.core.actor import Scope
from apps.core.aio import return_connections
from apps.core.rows import insert
from apps.events.services import publish
from apps.runs.errors import RunNotFound
from apps.runs.models import OPEN, TERMINAL, Run, RunKind
from apps.runs.services import queue_run
from apps.tasks.assessing.results import completed
from apps.tasks.errors import NothingToAssess, TaskStateForbids
from apps.tasks.models import Assessment, Task, TaskStatus, Trigger
from apps.tasks.services.moving import lock_task, move
from apps.tasks.services.outcomes import conclude

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

    from apps.core.actor import Actor
    from apps.core.facts import Fact

ASSESS = "assess"
REVIEW_SECONDS = 3_600.0  # a review that takes longer has failed
# Seconds between two looks at a review that a request waits for: first, longest, and how they grow.
FIRST_LOOK, LAST_LOOK, LONGER = 0.02, 0.5, 1.5
MOST_WAITING = 8  # requests of one process
_waiting = threading.BoundedSemaphore(MOST_WAITING)
REASSESSABLE = frozenset({TaskStatus.DONE, TaskStatus.FAILED})


class Work(Protocol):
    """Something a model is asked about a task.

    `question`: (prompt, JSON schema of the answer); it reads, on a database thread. `concluded`: what
    follows, on the locked task, in the transaction that ends the run; returns the facts. `answer` None:
    no model could be asked, or none answered in that shape.
    """

    def question(
        self, actor: Actor, task: Task, told: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]: ...

    def concluded(
        self, actor: Actor, task: Task, told: dict[str, Any], answer: dict[str, Any] | None
    ) -> list[Fact]: ...


def open_work(actor: Actor, task: Task, name: str, told: dict[str, Any]) -> list[Fact]:
    """Have the work registered under `name` done about a locked task; the caller publishes the facts.

    Nothing when it is under way already.
    """
    if is_at_work(actor, task.pk, name):
        return []
    return [_open(_for_creator(actor, task), task, name, told)[1]]


def is_at_work(actor: Actor, task_id: UUID, name: str) -> bool:
    """Is work of this name open for the task?"""
    return _open_runs(actor, task_id, name).exists()


def open_assessment(actor: Actor, task: Task, trigger: str) -> list[Fact]:
    """`services.reviewing.Opener`: judge the result of a locked task in review."""
    told = _told(task, trigger)
    return [_open(_for_creator(actor, task), task, ASSESS, told)[1]]


@transaction.atomic
def reassess_task(actor: Actor, task_id: UUID, *, reason: str = "") -> UUID:
    """Judge a finished task's result again; the id of the run that does. One is done at a time.

    Raises TaskNotFound, TaskStateForbids unless done or failed, NothingToAssess.
    """
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    if task.status not in REASSESSABLE:
        raise TaskStateForbids(
            f"Only a finished task can be reassessed; this one is {task.status}."
        )
    if not task.expectations and not task.metrics:
        raise NothingToAssess
    under_way = _open_runs(actor, task_id, ASSESS).values_list("pk", flat=True).first()
    if under_way is not None:
        return UUID(str(under_way))
    run_id, queued = _open(actor, task, ASSESS, _told(task, Trigger.REASSESS))
    before = {"status": task.status}
    record_change(actor, "task.reassessed", "task", task_id, before=before, reason=reason)
    publish(actor, queued)
    return run_id


def _told(task: Task, trigger: str) -> dict[str, Any]:
    """What is judged stands in the run: who edits the task meanwhile does not change the measure."""
    return {
        "trigger": str(trigger),
        "attempt": str(task.run_id or ""),
        "expectations": task.expectations,
        "metrics": task.metrics,
    }


def _for_creator(actor: Actor, task: Task) -> Actor:
    """A review is paid for by whoever asked for the task, as its attempts are."""
    return replace(actor, user_id=task.user_id, token_id=task.token_id)


def _open(actor: Actor, task: Task, name: str, told: dict[str, Any]) -> tuple[UUID, Fact]:
    run, queued = queue_run(
        actor,
        kind=RunKind.REVIEW,
        subject=("task", task.pk),
        run_input={"work": name, "told": told},
        limits={"seconds": REVIEW_SECONDS},
    )
    return run.pk, queued


def _open_runs(actor: Actor, task_id: UUID, name: str) -> QuerySet[Run]:
    runs: QuerySet[Run] = Run.objects.in_workspace(actor.workspace_id).filter(
        subject_id=task_id, status__in=OPEN, subject_type="task", kind=RunKind.REVIEW
    )
    return runs.filter(input__work=name)


def await_review(actor: Actor, run_id: UUID, *, seconds: float = 50.0) -> bool:
    """Wait for the end of a review; for threads of requests only. False: it goes on without us.

    So few may wait at once that other requests find threads: who comes then is not kept waiting.
    Raises RunNotFound.
    """
    runs = Run.objects.in_workspace(actor.workspace_id).filter(pk=run_id, kind=RunKind.REVIEW)
    end, pause = time.monotonic() + seconds, FIRST_LOOK
    waits = _waiting.acquire(blocking=False)
    try:
        while True:
            status = runs.values_list("status", flat=True).first()
            if status is None:
                raise RunNotFound
            if status in TERMINAL:
                return True
            if not waits or time.monotonic() + pause > end:
                return False
            return_connections()  # others may have it while we sleep
            time.sleep(pause)
            pause = min(LAST_LOOK, pause * LONGER)
    finally:
        if waits:
            _waiting.release()


# --- The end of a review ----------------------------------------------------------------------
def conclude_assessment(
    actor: Actor, task: Task, told: dict[str, Any], found: dict[str, Any]
) -> list[Fact]:
    """What `assessing.assess` found, on the locked task: its rows, and what they mean.

    Nothing when the task is elsewhere by now: what was judged is not its result any more.
    """
    trigger = told["trigger"]
    if not _is_current(task, told):
        return []
    if question := found.get("question"):
        return conclude(actor, task, passed=False, question=tuple(question), trigger=trigger)
    results = found["assessments"]
    if not results:
        return conclude(actor, task, passed=True, trigger=trigger)
    _keep(actor, task, told, results)
    last = results[-1]
    verdict = conclude(
        actor,
        task,
        passed=last["passed"],
        message=last["message"],
        score=last["globalScore"],
        trigger=trigger,
    )
    return [completed(task.pk, last), *verdict]


def fail_assessment(actor: Actor, task: Task, told: dict[str, Any], words: str) -> list[Fact]:
    """The review itself came to no end. A result that nobody judged is not done, and trying again would
    not mend it: the task fails, and may be reassessed. One that had its verdict keeps it.
    """
    if not _is_current(task, told) or task.status != TaskStatus.REVIEW:
        return []
    result = _unjudged(told["trigger"], words)
    _keep(actor, task, told, [result])
    return [completed(task.pk, result), move(actor, task, TaskStatus.FAILED)]


def _unjudged(trigger: str, words: str) -> dict[str, Any]:
    message = f"The review came to no end: {words}"
    return {
        "passed": False,
        "checks": [{"type": "llm_review", "passed": False, "message": message}],
        "metrics": [],
        "review": "",
        "scores": [],
        "globalScore": None,
        "trigger": trigger,
        "message": message,
    }


def _is_current(task: Task, told: dict[str, Any]) -> bool:
    if str(task.run_id or "") != told["attempt"]:
        return False
    if told["trigger"] == Trigger.REASSESS:
        return task.status in REASSESSABLE
    return bool(task.status == TaskStatus.REVIEW)


def _keep(
    actor: Actor, task: Task, told: dict[str, Any], results: Sequence[dict[str, Any]]
) -> None:
    """One immutable row each, numbered on. The task is touched: lists know it by its row's version."""
    rows = Assessment.objects.in_workspace(actor.workspace_id).filter(task=task)
    newest = rows.aggregate(newest=Max("number"))["newest"] or 0
    made = [
        Assessment(
            workspace_id=actor.workspace_id,
            task=task,
            number=number,
            run_id=UUID(told["attempt"]) if told["attempt"] else None,
            trigger=result["trigger"],
            passed=result["passed"],
            global_score=result["globalScore"],
            checks=result["checks"],
            metrics=result["metrics"],
            review=result["review"],
            scores=result["scores"],
        )
        for number, result in enumerate(results, newest + 1)
    ]
    insert(*made)
    task.save(update_fields=["updated_at"])
