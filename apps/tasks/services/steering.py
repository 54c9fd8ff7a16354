"""What people do to a task's course: queue it, try it again, stop it (contract/polpo.md §5.6)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.services import record_change
from apps.approvals.services import withdraw_unanswered
from apps.core.actor import Scope
from apps.events.services import publish
from apps.runs.errors import RunFinishedAlready
from apps.runs.models import OPEN, Run
from apps.runs.services import cancel_run
from apps.tasks.briefs import original_of
from apps.tasks.errors import TaskStateForbids
from apps.tasks.events import AgentFinished
from apps.tasks.models import TERMINAL, Phase, TaskStatus
from apps.tasks.selectors import get_task
from apps.tasks.services.attempts import result_of
from apps.tasks.services.moving import force, lock_task, move
from apps.tasks.services.outcomes import finish
from apps.tasks.traces import diagnosis, last_words

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.tasks.models import Task

LONGEST_REASON = 500


@transaction.atomic
def queue_task(actor: Actor, task_id: UUID, *, reason: str = "") -> Task:
    """A draft becomes pending. Raises TaskNotFound, TaskStateForbids."""
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    if task.status != TaskStatus.DRAFT:
        raise TaskStateForbids(f"Only a draft can be queued; this task is {task.status}.")
    moved = move(actor, task, TaskStatus.PENDING)
    record_change(
        actor,
        "task.queued",
        "task",
        task.pk,
        before={"status": moved.before},
        reason=reason[:LONGEST_REASON],
    )
    publish(actor, moved)
    return task


@transaction.atomic
def retry_task(actor: Actor, task_id: UUID, *, reason: str = "") -> Task:
    """A failed task goes back to the queue with its first description; counts a retry.

    Raises TaskNotFound, TaskStateForbids, TaskTitleTaken.
    """
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    if task.status != TaskStatus.FAILED:
        raise TaskStateForbids(f"Only a failed task can be retried; this one is {task.status}.")
    moved = move(actor, task, TaskStatus.PENDING, **fresh_start(task))
    record_change(
        actor,
        "task.retried",
        "task",
        task.pk,
        before={"status": moved.before},
        after={"status": moved.after, "retries": task.retries},
        reason=reason[:LONGEST_REASON],
    )
    publish(actor, moved)
    return task


def kill_task(actor: Actor, task_id: UUID, *, reason: str = "") -> Task:
    """Stop a task whatever it is at: failed at once, its run within a step; no retry.

    One that has ended already stays as it is (contract/polpo.md §3.2). Raises TaskNotFound.
    """
    with suppress(TaskStateForbids):
        return _stop(actor, task_id, "task.killed", "Killed.", reason)
    return get_task(actor, task_id)


def force_fail_task(actor: Actor, task_id: UUID, *, reason: str = "") -> Task:
    """As `kill_task`, for what can come to no end by itself (a deadlock, a missed deadline)."""
    return _stop(actor, task_id, "task.force_failed", "Given up.", reason)


@transaction.atomic
def _stop(actor: Actor, task_id: UUID, verb: str, words: str, reason: str) -> Task:
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    if task.status in TERMINAL:
        raise TaskStateForbids(f"The task is {task.status} already.")
    before = task.status
    facts = stop_task(actor, task, f"{words} {reason}".strip())
    record_change(
        actor,
        verb,
        "task",
        task.pk,
        before={"status": before},
        after={"status": task.status},
        reason=reason[:LONGEST_REASON],
    )
    publish(actor, *facts)
    return task


def stop_task(actor: Actor, task: Task, words: str) -> list[Fact]:
    """Fail a locked task that has not ended and stop what works on it, in the caller's transaction.

    `words` go into the result. The caller publishes, last: nothing may be locked after this.
    """
    runs = _open_runs(actor, task)
    asked = task.approval_id
    facts = _failed_at_once(actor, task, runs, words)
    if asked is not None and not runs:  # a run that waits takes its own question back
        withdraw_unanswered(actor, asked)
    _cancel(actor, runs, words)
    return facts


def accept_task(actor: Actor, task: Task) -> list[Fact]:
    """A locked task in review is done, whatever its review would say; as `stop_task` otherwise."""
    runs = _open_runs(actor, task)
    facts = finish(actor, task)
    _cancel(actor, runs, "Accepted by hand.")
    return facts


def _cancel(actor: Actor, runs: list[Run], words: str) -> None:
    for run in runs:
        with suppress(RunFinishedAlready):
            cancel_run(actor, run.pk, reason=words)


def fresh_start(task: Task) -> dict[str, Any]:
    """What a task that is begun anew forgets: fields for `move`."""
    return {
        "phase": Phase.EXECUTION,
        "fix_attempts": 0,
        "question_rounds": 0,
        "outcomes": [],
        "approval_id": None,
        "description": original_of(task),
    }


def _open_runs(actor: Actor, task: Task) -> list[Run]:
    """The attempt, or the review, under way; locked. Found among the workspace's open runs."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(
        session_id__isnull=True, status__in=OPEN, subject_type="task", subject_id=task.pk
    )
    return list(runs.order_by("id").select_for_update())


def _failed_at_once(actor: Actor, task: Task, runs: list[Run], words: str) -> list[Fact]:
    """The attempt's own end will come too late to count."""
    attempt = next((run for run in runs if run.pk == task.run_id), None)
    kept = task.result or {"stdout": "", "duration": 0}
    result = kept | {"exitCode": 1, "stderr": words}
    if attempt is not None:
        result = result_of(
            attempt,
            exit_code=1,
            stdout=last_words(attempt.workspace_id, attempt.pk),
            stderr=f"{words}\n{diagnosis(attempt.workspace_id, attempt.pk)}",
        )
    moved = force(actor, task, TaskStatus.FAILED, result=result, approval_id=None)
    if attempt is None:
        return [moved]
    ended = AgentFinished(
        task_id=task.pk,
        agent_name=task.assign_to,
        exit_code=1,
        duration=result["duration"],
    )
    return [moved, ended]
