"""What attempts say they have made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.actor import Scope
from apps.events.services import publish
from apps.tasks.errors import TaskStateForbids, TooManyOutcomes
from apps.tasks.events import TaskUpdated
from apps.tasks.models import TaskStatus
from apps.tasks.services.attempts import task_at

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

MOST = 100  # outcomes of one attempt


@transaction.atomic
def register_outcome_of(actor: Actor, run_id: UUID, outcome: dict[str, Any]) -> int:
    """Keep an outcome (contract/polpo.md §5.2, with its `id`) of the task this run is at.

    Again with the same id, it is replaced. Returns how many the attempt has. Raises TaskStateForbids
    when the run is no task's attempt, or of the past; TooManyOutcomes.
    """
    actor.need(Scope.WRITE)
    task = task_at(actor, run_id)
    if task is None or task.status != TaskStatus.IN_PROGRESS:
        raise TaskStateForbids("Only a task at work has outcomes to register.")
    others = [known for known in task.outcomes if known["id"] != outcome["id"]]
    if len(others) >= MOST:
        raise TooManyOutcomes
    task.outcomes = [*others, outcome | {"producedBy": task.assign_to}]
    task.save(update_fields=["outcomes", "updated_at"])
    publish(actor, TaskUpdated(task_id=task.pk, changed=["outcomes"]))
    return len(task.outcomes)
