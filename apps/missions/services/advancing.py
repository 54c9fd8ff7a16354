"""Carrying a mission on: look at its graph, write down what follows, until nothing does.

TLDR: tasks start by themselves when nothing holds them (`tasks.services.moving`); this lets go what
barriers hold, pauses at checkpoints, and sees the end. Called after each end of a task, when a delay is
over, and by a sweep; it is idempotent, so a lost or doubled call costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from apps.core.queue import enqueue
from apps.core.rows import execute
from apps.events.services import publish_all
from apps.missions.decision import Decision, decide
from apps.missions.drafts import read_document
from apps.missions.errors import MissionNotFound
from apps.missions.events import (
    CheckpointReached,
    DelayExpired,
    DelayStarted,
    GateFailed,
    GatePassed,
)
from apps.missions.models import RUNNING, Barrier, BarrierKind, BarrierState, Mission
from apps.missions.selectors import barriers_of, is_on_its_way
from apps.missions.services.deadlocks import settle_deadlock
from apps.missions.services.ending import finish
from apps.missions.services.saving import lock_mission
from apps.missions.services.turning import ADVANCE, pause
from apps.missions.standing import BarrierState as Stands
from apps.missions.standing import NodeState, Passage, Standing, Status
from apps.tasks.selectors import scores_of, tasks_of_mission
from apps.tasks.services import release_tasks

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.graph import Graph
    from apps.missions.standing import Verdict
    from apps.tasks.models import Task

MOST_ROUNDS = 700  # each round settles a barrier or ends the mission
SWEEP_BATCH = 200
LOOK_AGAIN = 15.0  # seconds after which a running mission is looked at though nothing woke it


def advance(actor: Actor, mission_id: UUID) -> None:
    """Bring a running mission up to date; quiet when it is gone or does not run."""
    if is_on_its_way(actor, mission_id):
        rows = Mission.objects.in_workspace(actor.workspace_id).filter(pk=mission_id)
        rows.update(looked_at=timezone.now())
    else:
        _advance(actor, mission_id)


@transaction.atomic
def _advance(actor: Actor, mission_id: UUID) -> None:
    try:
        mission = lock_mission(actor, mission_id)
    except MissionNotFound:
        return
    facts: list[Fact] = []
    for _ in range(MOST_ROUNDS):
        if mission.status not in RUNNING:
            break
        more = _round(actor, mission)
        if not more:
            break
        facts += more
    mission.looked_at = timezone.now()
    if facts:
        mission.save()
        publish_all(actor, facts)
    else:  # most looks find that nothing follows: do not write the document anew
        mission.save(update_fields=["looked_at", "wake_at"])


def _round(actor: Actor, mission: Mission) -> list[Fact]:
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group)
    barriers = barriers_of(actor, mission)
    now = timezone.now()
    decision = decide(
        _graph(mission, tasks),
        _standing(actor, tasks, barriers),
        now=now,
        mission=mission.status,
        threshold=mission.quality_threshold,
    )
    mission.wake_at = decision.wake_at
    facts = _settle_barriers(actor, mission, tasks, barriers, decision, now)
    if facts:
        return facts
    if decision.deadlock is not None:
        return settle_deadlock(actor, mission, tasks, decision.deadlock)
    if decision.finished is not None:
        return finish(actor, mission, tasks, decision.finished)
    return []


def _graph(mission: Mission, tasks: list[Task]) -> Graph:
    """As it was executed, but for the dependencies that a deadlock made tasks do without."""
    graph = read_document(mission.executed).graph()
    titles = {task.pk: task.title for task in tasks}
    needs = {task.title: {titles.get(need) for need in task.depends_on} for task in tasks}
    for node in graph.nodes:
        for edge in node.after:
            if node.name in needs and edge.source not in needs[node.name]:
                gone = edge.source not in titles.values()
                graph = graph if gone else graph.without_edge(node.name, edge.source)
    return graph


def _standing(actor: Actor, tasks: list[Task], barriers: list[Barrier]) -> Standing:
    scores = scores_of(actor, [task.pk for task in tasks])
    return Standing(
        nodes={task.title: NodeState(Status(task.status), scores.get(task.pk)) for task in tasks},
        barriers={
            (barrier.kind, barrier.name): Stands(Passage(barrier.state), barrier.expires_at)
            for barrier in barriers
            if barrier.state != BarrierState.WAITING
        },
    )


def _settle_barriers(
    actor: Actor,
    mission: Mission,
    tasks: list[Task],
    barriers: list[Barrier],
    decision: Decision,
    now: datetime,
) -> list[Fact]:
    """Write down what the decision says of barriers; the tasks behind an open one are let go."""
    known = {(barrier.kind, barrier.name): barrier for barrier in barriers}
    facts: list[Fact] = [
        _judge(actor, mission, tasks, known[BarrierKind.GATE, verdict.gate], verdict)
        for verdict in decision.verdicts
    ]
    for name in decision.reopened:
        _write(known[BarrierKind.GATE, name], BarrierState.WAITING)
        enqueue(ADVANCE, workspace_id=actor.workspace_id, mission_id=mission.pk)
    facts += [
        _reach(mission, known[BarrierKind.CHECKPOINT, name], now) for name in decision.reached
    ]
    if decision.reached:
        pause(actor, mission)
    for timer in decision.started:
        barrier = known[BarrierKind.DELAY, timer.delay]
        facts.append(_start(mission, barrier, now, timer.expires_at))
    for name in decision.expired:
        barrier = known[BarrierKind.DELAY, name]
        _write(barrier, BarrierState.EXPIRED)
        _let_go(actor, tasks, barrier)
        facts.append(DelayExpired(mission_id=mission.pk, group=mission.group, barrier=name))
    return facts


def _write(barrier: Barrier, state: str, **more: object) -> None:
    barrier.state = state
    for field, value in more.items():
        setattr(barrier, field, value)
    barrier.save()


def _let_go(actor: Actor, tasks: list[Task], barrier: Barrier) -> None:
    hold = f"{barrier.kind}:{barrier.name}"
    release_tasks(actor, [task.pk for task in tasks if hold in task.held_by], hold)


def _judge(
    actor: Actor, mission: Mission, tasks: list[Task], gate: Barrier, verdict: Verdict
) -> Fact:
    state = BarrierState.PASSED if verdict.passed else BarrierState.FAILED
    _write(gate, state, avg_score=verdict.avg_score, reason=verdict.reason[:500])
    if verdict.passed:
        _let_go(actor, tasks, gate)
        return GatePassed(mission_id=mission.pk, barrier=gate.name, avg_score=verdict.avg_score)
    return GateFailed(
        mission_id=mission.pk,
        barrier=gate.name,
        avg_score=verdict.avg_score,
        reason=verdict.reason,
    )


def _reach(mission: Mission, checkpoint: Barrier, now: datetime) -> Fact:
    _write(checkpoint, BarrierState.REACHED, since=now)
    return CheckpointReached(
        mission_id=mission.pk,
        group=mission.group,
        barrier=checkpoint.name,
        message=checkpoint.spec.get("message", ""),
        after_tasks=checkpoint.spec["afterTasks"],
        blocks_tasks=checkpoint.spec["blocksTasks"],
        reached_at=now,
    )


def _start(mission: Mission, delay: Barrier, now: datetime, expires_at: datetime) -> Fact:
    _write(delay, BarrierState.STARTED, since=now, expires_at=expires_at)
    return DelayStarted(
        mission_id=mission.pk,
        group=mission.group,
        barrier=delay.name,
        message=delay.spec.get("message", ""),
        after_tasks=delay.spec["afterTasks"],
        blocks_tasks=delay.spec["blocksTasks"],
        duration=delay.spec["duration"],
        started_at=now,
        expires_at=expires_at,
    )


# --- The sweep: it sees every workspace, and is named in the house test --------------------------
def wake_due() -> int:
    """Advance missions whose delay is over, and those that nothing has woken for a while. Bounded."""
    rows = execute(
        """(SELECT workspace_id, id FROM missions_mission
             WHERE status IN ('active', 'paused') AND wake_at <= now() ORDER BY wake_at LIMIT %s)
           UNION
           (SELECT workspace_id, id FROM missions_mission
             WHERE status IN ('active', 'paused')
               AND looked_at < now() - make_interval(secs => %s) ORDER BY looked_at LIMIT %s)""",
        [SWEEP_BATCH, LOOK_AGAIN, SWEEP_BATCH],
    )
    for workspace_id, mission_id in rows:
        enqueue(ADVANCE, workspace_id=workspace_id, mission_id=mission_id)
    return len(rows)
