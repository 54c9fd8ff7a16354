"""Executions of a mission: begin one, take it up again, call it off, let it pass a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import record_change
from apps.core.actor import Scope
from apps.core.queue import enqueue
from apps.core.rows import insert
from apps.events.services import publish, publish_all
from apps.formations.selectors import list_agents
from apps.formations.services import register_volatile
from apps.missions.document import as_json
from apps.missions.drafts import barrier_entries, read_document, shown
from apps.missions.errors import CheckpointNotFound, MissionInvalid, MissionStateForbids
from apps.missions.events import CheckpointResumed, MissionExecuted, MissionResumed
from apps.missions.models import (
    EXECUTABLE,
    RUNNING,
    Barrier,
    BarrierKind,
    BarrierState,
    Mission,
    MissionStatus,
)
from apps.missions.services.saving import SCHEDULED, lock_mission
from apps.missions.services.turning import ADVANCE, call_off, go_on, waits_at_checkpoint
from apps.tasks.models import Task, TaskStatus
from apps.tasks.selectors import tasks_of_mission
from apps.tasks.services import build_task, release_tasks, remove_schedule, retry_tasks, save_tasks
from apps.workspaces.preferences import read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.document import MissionDocument, TaskSpec


def execute_mission(actor: Actor, mission_id: UUID, *, reason: str = "") -> tuple[list[Task], str]:
    """Begin a new execution: (its tasks in the order of the document, its group).

    One transaction: agents, tasks and barriers are all there or none is. Raises MissionNotFound,
    MissionStateForbids, MissionInvalid (an unknown agent too), TaskTitleTaken.
    """
    actor.need(Scope.WRITE)
    with transaction.atomic():
        mission = lock_mission(actor, mission_id)
        if mission.status not in EXECUTABLE:
            raise MissionStateForbids(f"A mission that is {mission.status} cannot be executed.")
        tasks, facts = begin(actor, mission, reason=reason)
        publish_all(actor, facts)
    return tasks, mission.group


def begin(actor: Actor, mission: Mission, *, reason: str = "") -> tuple[list[Task], list[Fact]]:
    """Begin an execution of a locked mission in the caller's transaction, which publishes the facts."""
    document = read_document(mission.document)
    before = shown(mission)
    mission.home = mission.status if mission.status in SCHEDULED else ""
    mission.execution_count += 1
    mission.group = _group(actor, mission)
    mission.executed, mission.report = mission.document, None
    mission.status = MissionStatus.ACTIVE
    mission.started_at, mission.finished_at, mission.wake_at = timezone.now(), None, None
    mission.sla = ""
    register_volatile(actor, mission.group, [as_json(member) for member in document.team])
    default = _check_agents(actor, document)
    tasks = _tasks(actor, mission, document, default)
    facts = save_tasks(actor, tasks)
    _raise_barriers(mission, document)
    mission.save()
    record_change(
        actor,
        "mission.executed",
        "mission",
        mission.pk,
        before=before,
        after=shown(mission),
        reason=reason,
    )
    enqueue(ADVANCE, workspace_id=actor.workspace_id, mission_id=mission.pk)
    executed = MissionExecuted(mission_id=mission.pk, group=mission.group, task_count=len(tasks))
    return tasks, [executed, *facts]


def _group(actor: Actor, mission: Mission) -> str:
    """The mission's name, `name #N` from its second execution on (contract/polpo.md §7.3).

    Another mission of the same name keeps its tasks apart: ours are then numbered on.
    """
    taken = Task.objects.in_workspace(actor.workspace_id).exclude(mission_id=mission.pk)
    number = mission.execution_count
    while True:
        group = mission.name if number == 1 else f"{mission.name} #{number}"
        if not taken.filter(group=group).exists():
            return group
        number += 1


def _check_agents(actor: Actor, document: MissionDocument) -> str:
    """The agent of tasks that name none; MissionInvalid names the agents that are not there."""
    known = {agent.name.lower(): agent.name for agent in list_agents(actor)}
    wrong = {
        f"tasks[{index}].assignTo": [f"There is no agent called {task.assign_to}."]
        for index, task in enumerate(document.tasks)
        if task.assign_to and task.assign_to.lower() not in known
    }
    for name in document.agent_names():
        if name.lower() not in known and not any(name in words[0] for words in wrong.values()):
            wrong[f"agents.{name}"] = [f"There is no agent called {name}."]
    if wrong:
        place, words = next(iter(wrong.items()))
        raise MissionInvalid(f"{place}: {words[0]}", fields=wrong)
    return document.team[0].name if document.team else next(iter(known.values()), "")


def _tasks(actor: Actor, mission: Mission, document: MissionDocument, default: str) -> list[Task]:
    """Built, not saved; titles become ids once all of them are known, so that they may point forward."""
    held = _held_by(document)
    retries = read_preferences(get_workspace(actor).settings).max_retries
    tasks = [_task(actor, mission, entry, default, retries) for entry in document.tasks]
    ids = {task.title: task.pk for task in tasks}
    for task, entry in zip(tasks, document.tasks, strict=True):
        task.depends_on = [ids[title] for title in entry.depends_on]
        task.held_by = held.get(task.title, [])
    return tasks


def _task(actor: Actor, mission: Mission, entry: TaskSpec, default: str, retries: int) -> Task:
    told: dict[str, Any] = {
        "title": entry.title,
        "description": entry.description,
        "assign_to": entry.assign_to or default,
        "group": mission.group,
        "expectations": as_json(entry.expectations),
        "metrics": as_json(entry.metrics),
        "expected_outcomes": as_json(entry.expected_outcomes),
        "retry_policy": as_json(entry.retry_policy),
        "notifications": entry.notifications,
        "side_effects": entry.side_effects,
        "max_duration": None if entry.max_duration is None else int(entry.max_duration),
        "max_retries": retries if entry.max_retries is None else entry.max_retries,
        "priority": entry.priority,
        "deadline": entry.deadline,
    }
    task = build_task(actor, **told)
    task.mission_id = mission.pk
    return task


def _held_by(document: MissionDocument) -> dict[str, list[str]]:
    """Task title -> what holds it, named as `services.advancing` lets it go."""
    held: dict[str, list[str]] = {}
    for kind, entry in barrier_entries(document):
        for title in dict.fromkeys(entry.blocks_tasks):
            held.setdefault(title, []).append(f"{kind}:{entry.name}")
    return held


def _raise_barriers(mission: Mission, document: MissionDocument) -> None:
    barriers = [
        Barrier(
            workspace_id=mission.workspace_id,
            mission_id=mission.pk,
            group=mission.group,
            kind=kind,
            name=entry.name,
            spec=as_json(entry),
        )
        for kind, entry in barrier_entries(document)
    ]
    if barriers:
        insert(*barriers)


@transaction.atomic
def resume_mission(
    actor: Actor, mission_id: UUID, *, retry_failed: bool = False, reason: str = ""
) -> tuple[int, int]:
    """Take the present execution up again: (failed tasks retried, tasks that were pending).

    A failed mission becomes active; so does one that was paused by hand. One that waits at a
    checkpoint goes on waiting: a checkpoint is passed by name. Raises MissionNotFound,
    MissionStateForbids.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    if mission.status not in {*RUNNING, MissionStatus.FAILED}:
        raise MissionStateForbids(f"A mission that is {mission.status} cannot be resumed.")
    document = read_document(mission.executed or mission.document)
    register_volatile(actor, mission.group, [as_json(member) for member in document.team])
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group)
    pending = sum(task.status == TaskStatus.PENDING for task in tasks)
    failed = [task.pk for task in tasks if task.status == TaskStatus.FAILED]
    facts = retry_tasks(actor, failed) if retry_failed else []
    if not waits_at_checkpoint(actor, mission):
        go_on(actor, mission)
    mission.finished_at = None
    mission.save()
    retried = len(failed) if retry_failed else 0
    record_change(
        actor, "mission.resumed", "mission", mission.pk, after=shown(mission), reason=reason
    )
    resumed = MissionResumed(
        mission_id=mission.pk, mission_name=mission.name, retried=retried, pending=pending
    )
    publish_all(actor, [*facts, resumed])
    return retried, pending


@transaction.atomic
def abort_mission(actor: Actor, mission_id: UUID, *, reason: str = "") -> int:
    """Kill every task of it that has not ended, forget its schedule; returns how many were killed.

    Covers all its executions, also of a paused mission. MissionNotFound.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    before = shown(mission)
    facts, killed = call_off(actor, mission)
    remove_schedule(actor, "mission", mission.pk)
    record_change(
        actor,
        "mission.aborted",
        "mission",
        mission.pk,
        before=before,
        after=shown(mission),
        reason=reason,
    )
    publish(actor, *facts)
    return killed


@transaction.atomic
def resume_checkpoint(actor: Actor, mission_id: UUID, name: str, *, reason: str = "") -> None:
    """Let a mission pass a checkpoint it has reached. MissionNotFound, CheckpointNotFound."""
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    rows = Barrier.objects.in_workspace(actor.workspace_id)
    here = rows.filter(
        mission_id=mission.pk, group=mission.group, kind=BarrierKind.CHECKPOINT, name=name
    )
    if mission.status not in RUNNING or not here.filter(state=BarrierState.REACHED).update(
        state=BarrierState.RESUMED, user_id=actor.user_id
    ):
        raise CheckpointNotFound
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group)
    hold = f"{BarrierKind.CHECKPOINT}:{name}"
    release_tasks(actor, [task.pk for task in tasks if hold in task.held_by], hold)
    if not waits_at_checkpoint(actor, mission):
        go_on(actor, mission)
        mission.save()
    record_change(
        actor, "checkpoint.resumed", "mission", mission.pk, after={"name": name}, reason=reason
    )
    publish(actor, CheckpointResumed(mission_id=mission.pk, group=mission.group, barrier=name))
