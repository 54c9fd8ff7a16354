"""Reading tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.actor import Scope
from apps.tasks.errors import TaskNotFound
from apps.tasks.models import WORKING, Assessment, Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor

MOST_LISTED = 2_000
MOST_ASSESSMENTS = 50  # of one task, newest


def get_task(actor: Actor, task_id: UUID) -> Task:
    """Raises TaskNotFound."""
    actor.need(Scope.READ)
    task: Task | None = Task.objects.in_workspace(actor.workspace_id).filter(pk=task_id).first()
    if task is None:
        raise TaskNotFound
    return task


def list_tasks(
    actor: Actor,
    *,
    statuses: Sequence[str] = (),
    group: str | None = None,
    assign_to: str | None = None,
    limit: int = MOST_LISTED,
) -> list[Task]:
    """The newest `limit` tasks that fit every filter, oldest first (contract/polpo.md §3.2)."""
    actor.need(Scope.READ)
    rows = _filtered(actor, statuses=statuses, group=group, assign_to=assign_to)
    newest = rows.order_by("-created_at", "-id")[: min(limit, MOST_LISTED)]
    return list(reversed(newest))


def _filtered(
    actor: Actor, *, statuses: Sequence[str], group: str | None, assign_to: str | None
) -> QuerySet[Task]:
    rows: QuerySet[Task] = Task.objects.in_workspace(actor.workspace_id)
    if statuses:
        rows = rows.filter(status__in=statuses)
    if group is not None:
        rows = rows.filter(group=group)
    if assign_to is not None:
        rows = rows.filter(assign_to=assign_to)
    return rows


def tasks_by_id(actor: Actor, task_ids: Iterable[UUID]) -> dict[UUID, Task]:
    """Those of these tasks that are there: one query."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(pk__in=list(task_ids))
    return {task.pk: task for task in rows}


def tasks_of_mission(actor: Actor, mission_id: UUID, *, group: str | None = None) -> list[Task]:
    """A mission's tasks in the order of their document; `group` narrows to one execution."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(mission_id=mission_id)
    if group is not None:
        rows = rows.filter(group=group)
    return list(rows.order_by("created_at", "id"))


def assessments_of(actor: Actor, task_ids: Iterable[UUID]) -> dict[UUID, list[Assessment]]:
    """Each task's judgements, oldest first: one query."""
    actor.need(Scope.READ)
    rows = Assessment.objects.in_workspace(actor.workspace_id)
    found: dict[UUID, list[Assessment]] = {}
    for row in rows.filter(task_id__in=list(task_ids)).order_by("task_id", "number"):
        found.setdefault(row.task_id, []).append(row)
    return {task_id: listed[-MOST_ASSESSMENTS:] for task_id, listed in found.items()}


def at_work(actor: Actor) -> dict[str, int]:
    """Agent name -> how many of its tasks are at work."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(status__in=WORKING)
    counts: dict[str, int] = {}
    for name in rows.values_list("assign_to", flat=True):
        counts[name] = counts.get(name, 0) + 1
    return counts


def count_by_status(actor: Actor) -> dict[str, int]:
    """Every status with how many tasks have it."""
    from django.db.models import Count

    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).order_by().values_list("status")
    return dict.fromkeys(TaskStatus.values, 0) | dict(rows.annotate(Count("id")))
