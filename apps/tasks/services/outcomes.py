"""What a judged or failed attempt means to its task (contract/polpo.md §5.5, in its order).

These functions run on a locked task inside their caller's transaction and return the facts, which
the caller publishes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.core.errors import NotFound
from apps.engine.refs import canonical_ref
from apps.formations.selectors import find_agent
from apps.tasks.briefs import failure_digest, fix_brief, original_of, with_answer
from apps.tasks.events import (
    DeadlineMet,
    ExpectationsCorrected,
    TaskAnswered,
    TaskAsked,
    TaskFixStarted,
    TaskRetried,
    TaskRetriesSpent,
)
from apps.tasks.models import Phase, TaskStatus, Trigger
from apps.tasks.services.blocking import ask_before_repeating
from apps.tasks.services.moving import force, move
from apps.workspaces.preferences import Preferences, read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.tasks.models import Task


def conclude(
    actor: Actor,
    task: Task,
    *,
    passed: bool,
    message: str = "",
    score: float | None = None,
    corrections: Sequence[dict[str, Any]] = (),
    expectations: list[dict[str, Any]] | None = None,
    question: tuple[str, str] | None = None,
    trigger: str = Trigger.INITIAL,
) -> list[Fact]:
    """The verdict on a locked task's result. A task that is no longer in review is left alone.

    `message` says what did not pass (it goes into the next brief); `score` 1..5; `expectations`
    replace the task's, and `corrections` say how; `question` is (what the agent asked, its answer):
    then nothing was judged. With trigger `reassess` a done or failed task changes its verdict only.
    """
    facts = _corrected(task, corrections, expectations)
    if trigger == Trigger.REASSESS:
        return facts + _changed_verdict(actor, task, passed=passed)
    if task.status != TaskStatus.REVIEW:
        return facts
    if question is not None:
        return facts + _answered(actor, task, *question)
    if passed:
        return facts + finish(actor, task)
    if (task.result or {}).get("exitCode", 0) == 0:
        return facts + mend(actor, task, message=message, score=score)
    return facts + retry(actor, task, message=message)


def _corrected(
    task: Task, corrections: Sequence[dict[str, Any]], expectations: list[dict[str, Any]] | None
) -> list[Fact]:
    if expectations is not None:
        task.expectations = expectations
        task.save(update_fields=["expectations", "updated_at"])
    if not corrections:
        return []
    return [ExpectationsCorrected(task_id=task.pk, corrections=list(corrections))]


def _changed_verdict(actor: Actor, task: Task, *, passed: bool) -> list[Fact]:
    """Contract §6.6."""
    if passed and task.status == TaskStatus.FAILED:
        return [force(actor, task, TaskStatus.DONE)]
    if not passed and task.status == TaskStatus.DONE:
        return [force(actor, task, TaskStatus.FAILED)]
    return []


def _answered(actor: Actor, task: Task, question: str, answer: str) -> list[Fact]:
    """Back to work with the answer; no retry is burned."""
    moved = force(
        actor,
        task,
        TaskStatus.PENDING,
        phase=Phase.CLARIFICATION,
        question_rounds=task.question_rounds + 1,
        outcomes=[],
        original_description=with_answer(original_of(task), question, answer),
        description=with_answer(task.description, question, answer),
    )
    return [
        TaskAsked(task_id=task.pk, question=question),
        TaskAnswered(task_id=task.pk, question=question, answer=answer),
        moved,
    ]


def finish(actor: Actor, task: Task, **changes: Any) -> list[Fact]:
    """Done; a deadline that was kept is news."""
    if task.deadline is None or task.deadline < timezone.now():
        return [move(actor, task, TaskStatus.DONE, **changes)]
    margin = round((task.deadline - timezone.now()).total_seconds() * 1000)
    met = DeadlineMet(
        task_id=task.pk, entity_type="task", deadline=task.deadline.isoformat(), margin_ms=margin
    )
    return [move(actor, task, TaskStatus.DONE, sla="kept", **changes), met]


def mend(
    actor: Actor,
    task: Task,
    *,
    message: str,
    score: float | None = None,
    permitted: bool = False,
) -> list[Fact]:
    """The fix phase: the same task with what was wrong. Fixes spent: a retry.

    `permitted`: a human has allowed that work with side effects is done again.
    """
    most = preferences_of(actor).max_fix_attempts
    attempt = task.fix_attempts + 1
    if attempt > most:
        return retry(actor, task, message=message, permitted=permitted)
    if task.side_effects and not permitted:
        return ask_before_repeating(actor, task, "fix", message=message, score=score)
    brief = fix_brief(task, message, score, attempt=attempt, most=most)
    changes = {"phase": Phase.FIX, "fix_attempts": attempt, "approval_id": None, "outcomes": []}
    moved = force(
        actor,
        task,
        TaskStatus.PENDING,
        **changes,
        original_description=original_of(task),
        description=brief,
    )
    return [TaskFixStarted(task_id=task.pk, attempt=attempt, max_fix=most), moved]


def retry(
    actor: Actor, task: Task, *, message: str, permitted: bool = False, **changes: Any
) -> list[Fact]:
    """The retry path: again from the start, perhaps by somebody else; retries spent: failed.

    One step from where it is to pending: a task that is tried again has not failed, and nobody who
    waits for that should be woken.
    """
    for field, value in changes.items():
        setattr(task, field, value)
    if task.retries >= task.max_retries:
        spent = TaskRetriesSpent(task_id=task.pk)
        return [spent, move(actor, task, TaskStatus.FAILED, **changes)]
    if task.side_effects and not permitted:
        return ask_before_repeating(actor, task, "retry", message=message, **changes)
    attempt = task.retries + 1
    brief = failure_digest(task, message, attempt=attempt)
    fresh = {"phase": Phase.EXECUTION, "fix_attempts": 0, "approval_id": None, "outcomes": []}
    moved = force(
        actor,
        task,
        TaskStatus.PENDING,
        **changes | fresh | _escalation(actor, task, attempt),
        retries=attempt,
        original_description=original_of(task),
        description=brief,
    )
    return [TaskRetried(task_id=task.pk, attempt=attempt, max_retries=task.max_retries), moved]


def _escalation(actor: Actor, task: Task, attempt: int) -> dict[str, Any]:
    """From attempt `escalateAfter` on: another agent (else the superior), another model."""
    policy = task.retry_policy or {}
    after = policy.get("escalateAfter")
    if not isinstance(after, (int, float)) or attempt < after:
        return {}
    found = {
        "assign_to": policy.get("fallbackAgent") or _superior(actor, task.assign_to),
        "model": canonical_ref(policy.get("escalateModel") or ""),
    }
    return {field: value for field, value in found.items() if value}


def _superior(actor: Actor, name: str) -> str:
    try:
        return find_agent(actor, name).reports_to
    except NotFound:
        return ""


def preferences_of(actor: Actor) -> Preferences:
    return read_preferences(get_workspace(actor).settings)
