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


def narrate(actor: Actor, task: Task) -> str:
    """The mission's purpose, then its other tasks with where they stand and who has them."""
    if task.mission_id is None:
        return ""
    try:
        mission = get_mission(actor, task.mission_id)
    except MissionNotFound:
        return ""
    siblings = tasks_of_mission(actor, mission.pk, group=task.group)[:MOST_SIBLINGS]
    lines = [
        f"- [{other.status}] {other.title} ({other.assign_to})"
        for other in siblings
        if other.pk != task.pk
    ]
    told = [f"Mission: {mission.name}", mission.prompt]
    if lines:
        told += ["The other tasks:", *lines]
    return "\n".join(line for line in told if line)
