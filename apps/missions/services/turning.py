"""A mission's status by hand: schedule it, pause it, let it go on, call it off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.queue import enqueue
from apps.missions.errors import MissionStateForbids
from apps.missions.events import MissionAborted
from apps.missions.models import (
    RUNNING,
    Barrier,
    BarrierKind,
    BarrierState,
    Mission,
    MissionStatus,
)
from apps.tasks.models import TaskStatus
from apps.tasks.selectors import tasks_of_mission
from apps.tasks.services import hold_tasks, kill_mission_tasks, release_tasks

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.core.facts import Fact

ADVANCE = "missions.advance"
PAUSED = "mission"  # why a paused mission's tasks are held
PLANS = frozenset({MissionStatus.DRAFT, MissionStatus.SCHEDULED, MissionStatus.RECURRING})
# What a person may set; an execution and its end set the others (contract/polpo.md §7.1).
BY_HAND: dict[str, frozenset[str]] = {
    **dict.fromkeys(PLANS, PLANS | {MissionStatus.CANCELLED}),
    MissionStatus.ACTIVE: frozenset({MissionStatus.PAUSED, MissionStatus.CANCELLED}),
    MissionStatus.PAUSED: frozenset({MissionStatus.ACTIVE, MissionStatus.CANCELLED}),
    MissionStatus.COMPLETED: PLANS,
    MissionStatus.FAILED: PLANS,
    MissionStatus.CANCELLED: PLANS,
}


def turn(actor: Actor, mission: Mission, to: str) -> list[Fact]:
    """Set a locked mission's status by hand; the caller saves it and publishes what is returned.

    Raises MissionStateForbids.
    """
    if to not in BY_HAND[mission.status]:
        raise MissionStateForbids(f"Cannot move a mission from {mission.status} to {to}.")
    if to == MissionStatus.PAUSED:
        pause(actor, mission)
    elif to == MissionStatus.ACTIVE:
        if waits_at_checkpoint(actor, mission):
            raise MissionStateForbids("The mission waits at a checkpoint: resume that.")
        go_on(actor, mission)
    elif mission.status in RUNNING:
        return call_off(actor, mission)[0]
    mission.status = to
    return []


def pause(actor: Actor, mission: Mission) -> None:
    """Nothing more starts; what is at work goes on."""
    mission.status = MissionStatus.PAUSED
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group)
    waiting = [task.pk for task in tasks if task.status == TaskStatus.PENDING]
    hold_tasks(actor, waiting, PAUSED)


def go_on(actor: Actor, mission: Mission) -> None:
    mission.status = MissionStatus.ACTIVE
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group)
    release_tasks(actor, [task.pk for task in tasks if PAUSED in task.held_by], PAUSED)
    enqueue(ADVANCE, workspace_id=actor.workspace_id, mission_id=mission.pk)


def call_off(actor: Actor, mission: Mission) -> tuple[list[Fact], int]:
    """Cancel a locked mission: every task of it that has not ended is killed, of whatever execution.

    The status goes first: what the ends of the tasks start finds nothing to carry on.
    """
    if mission.status in RUNNING or mission.status in PLANS - {MissionStatus.DRAFT}:
        mission.status = MissionStatus.CANCELLED
        mission.wake_at = None
        mission.save()
    killed = kill_mission_tasks(actor, mission.pk, reason="The mission was aborted.")
    fact = MissionAborted(mission_id=mission.pk, group=mission.group, aborted=killed)
    return [fact], killed


def waits_at_checkpoint(actor: Actor, mission: Mission) -> bool:
    rows = Barrier.objects.in_workspace(actor.workspace_id)
    here = rows.filter(mission_id=mission.pk, group=mission.group)
    return bool(
        mission.status == MissionStatus.PAUSED
        and here.filter(kind=BarrierKind.CHECKPOINT, state=BarrierState.REACHED).exists()
    )
