"""Work with effects outside is done again only when a human says so (contract/polpo.md §5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.approvals.models import ApprovalStatus
from apps.approvals.selectors import get_approval
from apps.approvals.services import raise_request
from apps.core.rows import execute
from apps.events.services import publish
from apps.tasks.briefs import cut, with_feedback
from apps.tasks.events import TaskRetryBlocked, TaskUpdated
from apps.tasks.models import Task, TaskStatus
from apps.tasks.services.attempts import task_at
from apps.tasks.services.moving import move

if TYPE_CHECKING:
    from uuid import UUID

    from apps.approvals.events import ApprovalDecided, ApprovalFact
    from apps.approvals.models import Approval
    from apps.core.actor import Actor
    from apps.core.facts import Fact

SUBJECT = "task"
AGAIN = {"fix": "mend its result", "retry": "try it again"}


def ask_before_repeating(
    actor: Actor,
    task: Task,
    how: str,
    *,
    message: str,
    score: float | None = None,
    **changes: Any,
) -> list[Fact]:
    """Rest the locked task until somebody decides whether it is done again. `how`: fix or retry."""
    reason = f"Its work has effects outside: a human decides whether to {AGAIN[how]}."
    approval, asked = raise_request(
        actor,
        action=f"Task “{task.title}” did not succeed. {reason}",
        reason=cut(message),
        context={"again": how, "message": cut(message), "score": score},
        subject_type=SUBJECT,
        subject_id=task.pk,
    )
    moved = move(actor, task, TaskStatus.AWAITING_APPROVAL, approval_id=approval.pk, **changes)
    return [TaskRetryBlocked(task_id=task.pk, reason=reason), moved, asked]


def lock_subject(approval: Approval) -> None:
    """Before a request about a task is settled: the task (see `approvals.services.lock_with`)."""
    if approval.subject_type == SUBJECT and approval.subject_id is not None:
        execute(
            "SELECT 1 FROM tasks_task WHERE workspace_id = %s AND id = %s FOR UPDATE",
            [approval.workspace_id, approval.subject_id],
        )


def go_on_after(actor: Actor, fact: ApprovalFact) -> None:
    """The request of a blocked task is settled: again when it was allowed, else failed."""
    if fact.subject_type != SUBJECT or fact.subject_id is None:
        return
    task = _waiting_for(actor, fact.subject_id, fact.approval_id)
    how = get_approval(actor, fact.approval_id)
    if task is not None and how.context.get("again") in AGAIN:
        publish(actor, *_settled(actor, task, how))


def _waiting_for(actor: Actor, task_id: UUID, approval_id: UUID) -> Task | None:
    """The blocked task; None when it was killed meanwhile. Its row is locked by `lock_subject`."""
    tasks = Task.objects.in_workspace(actor.workspace_id).select_for_update()
    waits = tasks.filter(pk=task_id, approval_id=approval_id, status=TaskStatus.AWAITING_APPROVAL)
    task: Task | None = waits.first()
    return task


def _settled(actor: Actor, task: Task, approval: Approval) -> list[Fact]:
    from apps.tasks.services import outcomes

    message = str(approval.context.get("message") or "")
    if approval.status != ApprovalStatus.APPROVED:
        return _refused(actor, task, approval)
    if approval.context["again"] == "fix":
        score = approval.context.get("score")
        return outcomes.mend(actor, task, message=message, score=score, permitted=True)
    return outcomes.retry(actor, task, message=message, permitted=True)


def _refused(actor: Actor, task: Task, approval: Approval) -> list[Fact]:
    words = f"Another attempt was not allowed ({approval.status}). {approval.note}".strip()
    result = task.result or {}
    stderr = "\n".join(part for part in (result.get("stderr"), words) if part)
    changes = {"result": result | {"stderr": stderr}, "approval_id": None}
    if approval.note:
        changes |= _feedback(task, approval.note)
    return [move(actor, task, TaskStatus.FAILED, **changes)]


def keep_feedback(actor: Actor, fact: ApprovalDecided) -> None:
    """A refused call of an attempt: what was said stands in the task, for this and later attempts.

    The attempt itself goes on (`runs` wakes it) and reads the refusal as the result of its call.
    """
    if fact.status != ApprovalStatus.DENIED or not fact.note or fact.run_id is None:
        return
    task = task_at(actor, fact.run_id)
    if task is None:
        return
    changes = _feedback(task, fact.note)
    for field, value in changes.items():
        setattr(task, field, value)
    task.save(update_fields=[*changes, "updated_at"])
    publish(actor, TaskUpdated(task_id=task.pk, changed=sorted(changes)))


def _feedback(task: Task, note: str) -> dict[str, Any]:
    """Contract §18: a rejection appends its words and counts a revision."""
    count = task.revision_count + 1
    changes: dict[str, Any] = {
        "revision_count": count,
        "description": with_feedback(task.description, note, count=count),
    }
    if task.original_description:
        original = with_feedback(task.original_description, note, count=count)
        changes["original_description"] = original
    return changes
