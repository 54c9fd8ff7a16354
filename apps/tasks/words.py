"""How facts about tasks sound on polpo's streams (contract/polpo.md §15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.core.actor import Actor
from apps.events.words import bare, in_camel_case, speak
from apps.tasks.selectors import assessments_of, tasks_by_id
from apps.tasks.wire import task_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.events.selectors import EventRow

# Facts whose event carries the task itself, as it is when it is told.
WHOLE = ("task.created", "task.moved", "task.updated")
PLAIN = {
    "task.removed": "task:removed",
    "task.retried": "task:retry",
    "task.retry_blocked": "task:retry:blocked",
    "task.fix_started": "task:fix",
    "task.retries_spent": "task:maxRetries",
    "task.asked": "task:question",
    "task.answered": "task:answered",
    "task.timed_out": "task:timeout",
    "task.recovered": "task:recovered",
    "agent.spawned": "agent:spawned",
    "agent.active": "agent:activity",
    "agent.finished": "agent:finished",
    "agent.went_stale": "agent:stale",
    "assessment.started": "assessment:started",
    "assessment.progressed": "assessment:progress",
    "assessment.check_started": "assessment:check:started",
    "assessment.check_completed": "assessment:check:complete",
    "assessment.completed": "assessment:complete",
    "assessment.corrected": "assessment:corrected",
}
DEADLINES = {"sla.neared": "sla:warning", "sla.missed": "sla:violated", "sla.kept": "sla:met"}
SCHEDULES = {
    "schedule.created": "schedule:created",
    "schedule.triggered": "schedule:triggered",
    "schedule.completed": "schedule:completed",
    "schedule.expired": "schedule:expired",
}


def register_words() -> None:
    for fact, event in PLAIN.items():
        speak("polpo", fact, event)
    for fact, event in DEADLINES.items():
        speak("polpo", fact, event, _deadline)
    for fact, event in SCHEDULES.items():
        speak("polpo", fact, event, _schedule)
    speak("polpo", "task.created", "task:created", _task)
    speak("polpo", "task.moved", "task:transition", _transition)
    speak("polpo", "task.updated", "task:updated", _updated)


def complete_tasks(workspace_id: UUID, rows: list[EventRow]) -> None:
    """For `events.selectors.complete_with`: puts the task into each of these facts. Two queries."""
    actor = Actor.for_system(workspace_id)
    ids = {UUID(row.payload["task_id"]) for row in rows}
    tasks = tasks_by_id(actor, ids)
    judged = assessments_of(actor, [key for key, task in tasks.items() if task.result])
    for row in rows:
        task = tasks.get(UUID(row.payload["task_id"]))
        if task is not None:
            row.payload["task"] = task_json(task, judged.get(task.pk, ()))


def _task(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The task itself; nothing of one that is gone by now."""
    task: Mapping[str, Any] | None = payload.get("task")
    return task


def _transition(payload: Mapping[str, Any]) -> dict[str, Any]:
    told = {"taskId": bare(payload["task_id"]), "from": payload["before"], "to": payload["after"]}
    return told | ({"task": payload["task"]} if payload.get("task") else {})


def _updated(payload: Mapping[str, Any]) -> dict[str, Any]:
    told = {"taskId": bare(payload["task_id"])}
    return told | ({"task": payload["task"]} if payload.get("task") else {})


def _deadline(payload: Mapping[str, Any]) -> dict[str, Any]:
    told = in_camel_case(payload)
    told["entityId"] = told.pop("taskId")
    return told


def _schedule(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Only missions have schedules on this surface: `sched-<missionId>` (contract §7.7)."""
    if payload["subject_type"] != "mission":
        return None
    mission_id = bare(payload["subject_id"])
    told = {"scheduleId": f"sched-{mission_id}", "missionId": mission_id}
    more = {"expression": "expression", "next_run_at": "nextRunAt", "end_date": "endDate"}
    return told | {wire: payload[name] for name, wire in more.items() if payload.get(name)}
