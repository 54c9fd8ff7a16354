"""How a task changes its status, and when it becomes ready.

Locks are taken in one order: mission, task (dependents after what they depend on), session, run,
budget, approval, stream head. These functions run inside their caller's transaction and return the
facts instead of publishing them: publishing takes the stream head, which comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.core.queue import enqueue
from apps.core.rows import execute
from apps.tasks.errors import TaskNotFound, TaskStateForbids, TaskTitleTaken
from apps.tasks.events import TaskMoved
from apps.tasks.models import TERMINAL, TRANSITIONS, Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from apps.core.actor import Actor

DISPATCH = "tasks.dispatch"


def lock_task(actor: Actor, task_id: UUID) -> Task:
    """The task's row, locked; TaskNotFound."""
    task: Task | None = (
        Task.objects.in_workspace(actor.workspace_id).select_for_update().filter(pk=task_id).first()
    )
    if task is None:
        raise TaskNotFound
    return task


def move(actor: Actor, task: Task, to: str, **changes: Any) -> TaskMoved:
    """Move a locked task along `TRANSITIONS` and save `changes` with it; TaskStateForbids otherwise.

    A failed task that goes back to pending counts a retry (contract §5.3). TaskTitleTaken when its
    title has been taken meanwhile.
    """
    if to not in TRANSITIONS[task.status]:
        raise TaskStateForbids(f"Cannot move a task from {task.status} to {to}.")
    if task.status == TaskStatus.FAILED:
        changes.setdefault("retries", task.retries + 1)
    return _moved(actor, task, to, changes)


def force(actor: Actor, task: Task, to: str, **changes: Any) -> TaskMoved:
    """As `move`, outside the table: for kill, force-fail, the next attempt and a changed verdict."""
    return _moved(actor, task, to, changes)


def _moved(actor: Actor, task: Task, to: str, changes: dict[str, Any]) -> TaskMoved:
    before, task.status = task.status, to
    if before in TERMINAL and to not in TERMINAL:
        _claim_title(task)
        changes.setdefault("finished_at", None)
    if to in TERMINAL:
        changes.setdefault("finished_at", timezone.now())
    task.ready = False
    for field, value in changes.items():
        setattr(task, field, value)
    task.save(update_fields=["status", "ready", "updated_at", *changes])
    if to == TaskStatus.PENDING:
        refresh_ready(actor, [task.pk])
    if TaskStatus.DONE in (before, to):
        refresh_ready(actor, _dependents(actor, task.pk))
    if to in TERMINAL or to == TaskStatus.AWAITING_APPROVAL:
        enqueue(DISPATCH, workspace_id=actor.workspace_id)  # a place is free
    return TaskMoved(task_id=task.pk, before=before, after=to, mission_id=task.mission_id)


def _claim_title(task: Task) -> None:
    """A task that opens again needs its title for itself."""
    others = Task.objects.in_workspace(task.workspace_id).exclude(pk=task.pk)
    same = others.filter(group=task.group, title=task.title).exclude(status__in=TERMINAL)
    if same.exists():
        raise TaskTitleTaken


def _dependents(actor: Actor, task_id: UUID) -> list[UUID]:
    tasks = Task.objects.in_workspace(actor.workspace_id)
    pending = tasks.filter(depends_on__contains=[task_id], status=TaskStatus.PENDING)
    return list(pending.values_list("pk", flat=True))


_LOCK = (
    """SELECT 1 FROM tasks_task WHERE workspace_id = %s AND id = ANY(%s) ORDER BY id FOR UPDATE"""
)
_READY = """UPDATE tasks_task t SET ready = fit.ready FROM (
    SELECT p.id, p.status = 'pending' AND cardinality(p.held_by) = 0 AND NOT EXISTS (
               SELECT 1 FROM unnest(p.depends_on) AS need(id) WHERE NOT EXISTS (
                   SELECT 1 FROM tasks_task n WHERE n.workspace_id = p.workspace_id
                      AND n.id = need.id AND n.status = 'done')) AS ready
      FROM tasks_task p WHERE p.workspace_id = %s AND p.id = ANY(%s)) AS fit
 WHERE t.id = fit.id AND t.workspace_id = %s AND t.ready <> fit.ready RETURNING t.ready"""


def refresh_ready(actor: Actor, task_ids: Iterable[UUID]) -> int:
    """Work out anew whether these tasks may start; wakes the dispatcher. Returns how many now may.

    The rows are locked before they are looked at: two dependencies that end at the same time each see
    the other unfinished, and nobody would start what waits for both.
    """
    ids = list(task_ids)
    if not ids:
        return 0
    execute(_LOCK, [actor.workspace_id, ids])
    changed = execute(_READY, [actor.workspace_id, ids, actor.workspace_id])
    now_ready: int = sum(ready for (ready,) in changed)
    if now_ready:
        enqueue(DISPATCH, workspace_id=actor.workspace_id)
    return now_ready


def hold_tasks(actor: Actor, task_ids: Iterable[UUID], reason: str) -> None:
    """Keep these tasks from starting until `reason` is released. Those at work go on."""
    ids = list(task_ids)
    execute(_LOCK, [actor.workspace_id, ids])
    execute(
        """UPDATE tasks_task SET held_by = array_append(held_by, %s::varchar), ready = false
            WHERE workspace_id = %s AND id = ANY(%s) AND NOT held_by @> ARRAY[%s::varchar]""",
        [reason, actor.workspace_id, ids, reason],
    )


def release_tasks(actor: Actor, task_ids: Iterable[UUID], reason: str) -> int:
    """Let go what `hold_tasks` held for `reason`; returns how many became ready."""
    ids = list(task_ids)
    execute(_LOCK, [actor.workspace_id, ids])
    execute(
        """UPDATE tasks_task SET held_by = array_remove(held_by, %s::varchar)
            WHERE workspace_id = %s AND id = ANY(%s)""",
        [reason, actor.workspace_id, ids],
    )
    return refresh_ready(actor, ids)
