"""Changes by hand to a task's status, removal, and what is done to many tasks at once.

What touches many tasks locks all of their rows first, then their open runs: publishing takes the stream
head, and after that no row may be waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from apps.accounts.audit import record_change
from apps.approvals.services import withdraw_unanswered
from apps.core.actor import Scope
from apps.core.rows import execute
from apps.events.services import publish, publish_all
from apps.tasks.briefs import original_of
from apps.tasks.errors import NoFilter, TaskStateForbids
from apps.tasks.events import TaskRemoved
from apps.tasks.models import TERMINAL, Task, TaskStatus
from apps.tasks.services.moving import lock_task, move, refresh_ready
from apps.tasks.services.outcomes import finish
from apps.tasks.services.steering import accept_task, fresh_start, stop_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact

MOST_AT_ONCE = 1_000
# Where a person may put a task (PATCH): the rest of the table is the engine's to walk.
BY_HAND: dict[str, frozenset[str]] = {
    TaskStatus.DRAFT: frozenset({TaskStatus.PENDING}),
    TaskStatus.PENDING: frozenset({TaskStatus.AWAITING_APPROVAL}),
    TaskStatus.AWAITING_APPROVAL: frozenset(
        {TaskStatus.PENDING, TaskStatus.DONE, TaskStatus.FAILED}
    ),
    TaskStatus.IN_PROGRESS: frozenset({TaskStatus.FAILED}),
    TaskStatus.REVIEW: frozenset({TaskStatus.DONE, TaskStatus.FAILED}),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
}


def set_status(actor: Actor, task: Task, to: str) -> list[Fact]:
    """Move a locked task by hand; what works on it is stopped. TaskStateForbids outside the table."""
    if to not in BY_HAND.get(task.status, ()):
        raise TaskStateForbids(f"Cannot move a task from {task.status} to {to}.")
    if to == TaskStatus.FAILED:
        return stop_task(actor, task, "Failed by hand.")
    if task.status == TaskStatus.REVIEW:
        return accept_task(actor, task)
    asked, task.approval_id = task.approval_id, None
    facts = _moved_by_hand(actor, task, to)
    if asked is not None:
        withdraw_unanswered(actor, asked)
    return facts


def _moved_by_hand(actor: Actor, task: Task, to: str) -> list[Fact]:
    if to == TaskStatus.DONE:
        return finish(actor, task, approval_id=None)
    fresh = fresh_start(task) if task.status == TaskStatus.FAILED else {}
    return [move(actor, task, to, approval_id=None, **fresh)]


def retry_tasks(actor: Actor, task_ids: Iterable[UUID]) -> list[Fact]:
    """Failed tasks go back to the queue; others are left alone. The caller publishes."""
    tasks = lock_tasks(actor, task_ids)
    return [
        move(actor, task, TaskStatus.PENDING, **fresh_start(task))
        for task in tasks
        if task.status == TaskStatus.FAILED
    ]


def fail_tasks(actor: Actor, task_ids: Iterable[UUID], *, reason: str) -> list[Fact]:
    """Tasks that can come to no end are failed; those that have ended are left alone."""
    facts: list[Fact] = []
    for task in lock_tasks(actor, task_ids):
        if task.status not in TERMINAL:
            facts += stop_task(actor, task, reason)
    return facts


def absorb_dependency(
    actor: Actor, task: Task, dependency_id: UUID, instruction: str
) -> list[Fact]:
    """A locked task does without a dependency, and knows what it must do instead."""
    task.depends_on = [need for need in task.depends_on if need != dependency_id]
    task.resolution_attempts += 1
    if instruction.strip():
        task.original_description = original_of(task)
        task.description = f"{task.description}\n\n{instruction.strip()[:10_000]}"
    task.save()
    refresh_ready(actor, [task.pk])
    return []


def lock_tasks(actor: Actor, task_ids: Iterable[UUID]) -> list[Task]:
    """These tasks, locked in the order of their ids, with their open runs."""
    ids = list(task_ids)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(pk__in=ids).order_by("id")
    tasks = list(rows.select_for_update())
    execute(
        """SELECT 1 FROM runs_run WHERE workspace_id = %s AND subject_type = 'task'
              AND subject_id = ANY(%s) AND status IN ('queued', 'running', 'waiting')
            ORDER BY id FOR UPDATE""",
        [actor.workspace_id, [task.pk for task in tasks]],
    )
    return tasks


def kill_mission_tasks(actor: Actor, mission_id: UUID, *, reason: str) -> int:
    """Stop every task of a mission that has not ended, in the caller's transaction."""
    rows = Task.objects.in_workspace(actor.workspace_id).filter(mission_id=mission_id)
    ids = list(rows.exclude(status__in=TERMINAL).values_list("pk", flat=True))
    tasks = [task for task in lock_tasks(actor, ids) if task.status not in TERMINAL]
    facts = [fact for task in tasks for fact in stop_task(actor, task, reason)]
    publish_all(actor, facts)
    return len(tasks)


@transaction.atomic
def remove_task(actor: Actor, task_id: UUID) -> None:
    """Stop a task and forget it. What depends on it will never start. TaskNotFound."""
    actor.need(Scope.WRITE)
    publish(actor, *_remove(actor, [lock_task(actor, task_id)]))


@transaction.atomic
def remove_tasks(
    actor: Actor,
    *,
    statuses: Sequence[str] = (),
    group: str | None = None,
    assign_to: str | None = None,
    everything: bool = False,
) -> int:
    """Remove what fits every filter, at most `MOST_AT_ONCE`; returns how many. NoFilter without any."""
    actor.need(Scope.WRITE)
    rows = Task.objects.in_workspace(actor.workspace_id)
    given = {"status__in": list(statuses) or None, "group": group, "assign_to": assign_to}
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted and not everything:
        raise NoFilter
    ids = rows.filter(**wanted).order_by("id").values_list("pk", flat=True)[:MOST_AT_ONCE]
    # Once more, under the locks: what was failed when it was listed may have been retried meanwhile.
    tasks = [
        task
        for task in lock_tasks(actor, ids)
        if (not statuses or task.status in statuses)
        and group in {None, task.group}
        and assign_to in {None, task.assign_to}
    ]
    publish_all(actor, _remove(actor, tasks))
    return len(tasks)


def remove_mission_tasks(actor: Actor, mission_id: UUID) -> int:
    """Stop and forget all tasks of a mission, in the caller's transaction: it tells of them all."""
    rows = Task.objects.in_workspace(actor.workspace_id).filter(mission_id=mission_id)
    ids = list(rows.values_list("pk", flat=True))
    _remove(actor, lock_tasks(actor, ids))
    return len(ids)


def _remove(actor: Actor, tasks: Sequence[Task]) -> list[Fact]:
    """Stop and delete locked tasks."""
    facts: list[Fact] = []
    for task in tasks:
        if task.status not in TERMINAL:
            facts += stop_task(actor, task, "Removed.")
        shown = {"title": task.title, "group": task.group, "status": task.status}
        record_change(actor, "task.removed", "task", task.pk, before=shown)
        facts.append(TaskRemoved(task_id=task.pk, mission_id=task.mission_id))
    ids = [task.pk for task in tasks]
    Task.objects.in_workspace(actor.workspace_id).filter(pk__in=ids).delete()
    return facts
