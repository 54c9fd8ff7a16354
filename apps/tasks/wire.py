"""A task as the polpo surface writes it (contract/polpo.md §5.2 and §6.4): absent fields are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.ids import base62

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.approvals.models import Approval
    from apps.tasks.models import Assessment, Task


# How the surface calls what has become of a request; one taken back was decided by nobody either.
DECISIONS = {
    "pending": ("pending",),
    "approved": ("approved", "answered"),
    "rejected": ("denied",),
    "timeout": ("expired", "withdrawn"),
}


def task_json(task: Task, assessments: Sequence[Assessment] = ()) -> dict[str, Any]:
    """`assessments`: oldest first; the last one is the result's, the others its history."""
    shown: dict[str, Any] = {
        "id": base62(task.pk),
        "title": task.title,
        "description": task.description,
        "assignTo": task.assign_to,
        "dependsOn": [base62(need) for need in task.depends_on],
        "status": task.status,
        "expectations": task.expectations,
        "metrics": task.metrics,
        "retries": task.retries,
        "maxRetries": task.max_retries,
        "priority": _plain(task.priority),
        "createdAt": rfc3339(task.created_at),
        "updatedAt": rfc3339(task.updated_at),
    }
    return (
        shown
        | {name: value for name, value in _optional(task).items() if value}
        | _result(task, assessments)
    )


def _optional(task: Task) -> dict[str, Any]:
    """What is said only where there is something to say (zero, empty and null are not)."""
    return {
        "group": task.group,
        "missionId": task.mission_id and base62(task.mission_id),
        "maxDuration": task.max_duration,
        "retryPolicy": task.retry_policy,
        "phase": task.phase,
        "fixAttempts": task.fix_attempts,
        "questionRounds": task.question_rounds,
        "resolutionAttempts": task.resolution_attempts,
        "revisionCount": task.revision_count,
        "originalDescription": task.original_description,
        "sessionId": task.session_id and base62(task.session_id),
        "deadline": rfc3339(task.deadline),
        "expectedOutcomes": task.expected_outcomes,
        "outcomes": task.outcomes,
        "notifications": task.notifications,
        "sideEffects": task.side_effects,
    }


def _result(task: Task, assessments: Sequence[Assessment]) -> dict[str, Any]:
    if task.result is None:
        return {}
    result = dict(task.result)
    if assessments:
        result["assessment"] = assessment_json(assessments[-1])
    if len(assessments) > 1:
        result["assessmentHistory"] = [assessment_json(row) for row in assessments[:-1]]
    return {"result": result}


def assessment_json(row: Assessment) -> dict[str, Any]:
    """AssessmentResult (contract §6.4)."""
    shown: dict[str, Any] = {
        "passed": row.passed,
        "checks": row.checks,
        "metrics": row.metrics,
        "timestamp": rfc3339(row.created_at),
        "trigger": row.trigger,
    }
    more = {"llmReview": row.review, "scores": row.scores, "globalScore": row.global_score}
    return shown | {name: value for name, value in more.items() if value}


def approval_json(row: Approval, task: Task | None) -> dict[str, Any]:
    """A request to a human (contract §18). The gate is the kind of our request; its name what is asked."""
    payload = {"reason": row.reason, "options": row.options} | row.context
    more = {
        "taskId": task and base62(task.pk),
        "missionId": task and task.mission_id and base62(task.mission_id),
        "resolvedAt": rfc3339(row.decided_at),
        "resolvedBy": row.decided_by_id and base62(row.decided_by_id),
        "note": row.note,
    }
    return {
        "id": base62(row.pk),
        "gateId": row.kind,
        "gateName": row.action,
        "status": next(word for word, ours in DECISIONS.items() if row.status in ours),
        "payload": {name: value for name, value in payload.items() if value},
        "requestedAt": rfc3339(row.created_at),
    } | {name: value for name, value in more.items() if value}


def _plain(number: float) -> float | int:
    return int(number) if number.is_integer() else number
