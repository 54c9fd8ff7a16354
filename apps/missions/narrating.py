"""What a task is told of the mission it belongs to (contract/polpo.md §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.missions.errors import MissionNotFound
from apps.missions.selectors import get_mission
from apps.tasks.selectors import tasks_of_mission

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.tasks.models import Task

MOST_SIBLINGS = 100
LONGEST_RESULT = 2_000  # characters of each dependency's


def narrate(actor: Actor, task: Task) -> str:
    """The mission's purpose, its other tasks with where they stand and who has them, and the results of
    those that this one builds on.
    """
    if task.mission_id is None:
        return ""
    try:
        mission = get_mission(actor, task.mission_id)
    except MissionNotFound:
        return ""
    siblings = tasks_of_mission(actor, mission.pk, group=task.group)[:MOST_SIBLINGS]
    others = [other for other in siblings if other.pk != task.pk]
    told = [f"Mission: {mission.name}", mission.prompt]
    if others:
        told += ["The other tasks:", *(_line(other) for other in others)]
    told += [_result(other) for other in others if other.pk in task.depends_on]
    return "\n".join(line for line in told if line)


def _line(task: Task) -> str:
    return f"- [{task.status}] {task.title} ({task.assign_to})"


def _result(task: Task) -> str:
    """What a dependency ended with: its last words, where there are any."""
    words = str((task.result or {}).get("stdout") or "").strip()
    return f"\nThe result of {task.title}:\n{words[-LONGEST_RESULT:]}" if words else ""
