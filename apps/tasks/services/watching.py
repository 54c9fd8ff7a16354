"""What the platform does by itself about attempts that fall silent and deadlines that pass.

Called by the sweeper with what it has seen; each verb looks again under the task's lock and returns
whether there was anything to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from apps.core.actor import Scope
from apps.events.services import publish
from apps.runs.models import OPEN, Run
from apps.runs.services import cancel_run
from apps.tasks.events import AgentWentStale, DeadlineMissed, DeadlineNears, TaskRecovered
from apps.tasks.models import TERMINAL, Task, TaskStatus
from apps.tasks.services.attempts import OVERDUE, SILENT
from apps.tasks.services.moving import force, lock_task

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor


@transaction.atomic
def stop_overdue(actor: Actor, task_id: UUID, run_id: UUID) -> bool:
    """Stop an attempt whose time is over; its end says so and goes the retry path."""
    actor.need(Scope.WRITE)
    if _attempt(actor, task_id, run_id) is None:
        return False
    cancel_run(actor, run_id, reason=OVERDUE)
    return True


@transaction.atomic
def warn_of_silence(actor: Actor, task_id: UUID, run_id: UUID, *, idle_ms: int) -> bool:
    """Say once an attempt that nothing was heard of it for the workspace's `stale_threshold`."""
    actor.need(Scope.WRITE)
    task = _attempt(actor, task_id, run_id)
    if task is None or task.warned_at is not None:
        return False
    # Not saved: `updated_at` is a sign of life, and this is none.
    rows = Task.objects.in_workspace(actor.workspace_id).filter(pk=task.pk)
    rows.update(warned_at=timezone.now())
    publish(actor, _stale(task, idle_ms, "warning"))
    return True


@transaction.atomic
def stop_silent(actor: Actor, task_id: UUID, run_id: UUID, *, idle_ms: int) -> bool:
    """Stop an attempt that stayed silent for twice that time; it goes the retry path."""
    actor.need(Scope.WRITE)
    task = _attempt(actor, task_id, run_id)
    if task is None:
        return False
    cancel_run(actor, run_id, reason=SILENT)
    publish(actor, _stale(task, idle_ms, "killed"))
    return True


def _attempt(actor: Actor, task_id: UUID, run_id: UUID) -> Task | None:
    task = lock_task(actor, task_id)
    return task if task.run_id == run_id and task.status == TaskStatus.IN_PROGRESS else None


def _stale(task: Task, idle_ms: int, action: str) -> AgentWentStale:
    return AgentWentStale(
        task_id=task.pk, agent_name=task.assign_to, idle_ms=idle_ms, action=action
    )


@transaction.atomic
def recover_task(actor: Actor, task_id: UUID) -> bool:
    """A task at work without a run goes back to the queue; no retry is burned."""
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    runs = Run.objects.in_workspace(actor.workspace_id).filter(pk=task.run_id, status__in=OPEN)
    if task.status not in (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS) or runs.exists():
        return False
    moved = force(actor, task, TaskStatus.PENDING)
    publish(actor, _recovered(task, moved.before), moved)
    return True


def _recovered(task: Task, before: str) -> TaskRecovered:
    return TaskRecovered(task_id=task.pk, title=task.title, previous_status=before)


def say_recovered(actor: Actor, run_id: UUID) -> None:
    """The attempt's worker was lost: it goes on after its last step on another."""
    from apps.tasks.services.attempts import task_at

    task = task_at(actor, run_id)
    if task is not None:
        publish(actor, _recovered(task, task.status))


@transaction.atomic
def warn_of_deadline(actor: Actor, task_id: UUID) -> bool:
    """Say once that a deadline nears, and once that it was missed."""
    actor.need(Scope.WRITE)
    task = lock_task(actor, task_id)
    if task.deadline is None or task.status in TERMINAL or task.sla == "missed":
        return False
    fact = _missed(task, task.deadline) or _nears(task, task.deadline)
    task.sla = "missed" if isinstance(fact, DeadlineMissed) else "warned"
    task.save(update_fields=["sla"])
    publish(actor, fact)
    return True


def _missed(task: Task, deadline: datetime) -> DeadlineMissed | None:
    overdue = _ms(deadline, timezone.now())
    if overdue < 0:
        return None
    return DeadlineMissed(
        task_id=task.pk, entity_type="task", deadline=deadline.isoformat(), overdue_ms=overdue
    )


def _nears(task: Task, deadline: datetime) -> DeadlineNears:
    elapsed, whole = _ms(task.created_at, timezone.now()), _ms(task.created_at, deadline)
    return DeadlineNears(
        task_id=task.pk,
        entity_type="task",
        deadline=deadline.isoformat(),
        elapsed=elapsed,
        remaining=whole - elapsed,
        percent_used=round(elapsed / whole, 4) if whole > 0 else 1.0,
    )


def _ms(since: datetime, until: datetime) -> int:
    return round((until - since).total_seconds() * 1000)
