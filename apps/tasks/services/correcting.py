"""Expectations that were estimated wrongly are put right (contract/polpo.md §6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.events.services import publish
from apps.tasks.events import ExpectationsCorrected
from apps.tasks.models import TaskStatus
from apps.tasks.services.moving import lock_task

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.tasks.events import AssessmentCompleted


@transaction.atomic
def correct_expectations(
    actor: Actor,
    task_id: UUID,
    *,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    corrections: list[dict[str, Any]],
    completed: AssessmentCompleted,
) -> bool:
    """Replace the expectations of a task in review, and say so after `completed`, the judgement by the
    old ones. False when somebody has changed them meanwhile: theirs stand.

    A repeat after a crash changes nothing and answers the same.
    """
    task = lock_task(actor, task_id)
    if task.expectations == after:
        return True
    if task.status != TaskStatus.REVIEW or task.expectations != before:
        return False
    task.expectations = after
    task.save(update_fields=["expectations", "updated_at"])
    publish(actor, completed, ExpectationsCorrected(task_id=task_id, corrections=corrections))
    return True
