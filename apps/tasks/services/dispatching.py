"""Starting ready tasks: the highest priority first, as many at once as the workspace and its agents may.

One transaction a batch, one dispatcher a workspace at a time: what is at work is counted and added to
under one lock, so that no cap is passed however many wake up at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Lower
from django.utils import timezone

from apps.core.actor import Actor, Scope
from apps.core.rows import execute
from apps.events.services import publish
from apps.formations.selectors import list_agents
from apps.runs.models import RunKind
from apps.runs.services import queue_run
from apps.tasks.events import AgentSpawned
from apps.tasks.models import Phase, Task, TaskStatus
from apps.tasks.services.moving import force, move
from apps.tasks.services.outcomes import preferences_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apps.core.facts import Fact
    from apps.formations.models import Agent
    from apps.workspaces.preferences import Preferences

BATCH = 20  # tasks started in one transaction
STEPS_A_TURN = 5  # a model call, and room for the tools it asks for

_SERIALISE = "SELECT pg_advisory_xact_lock(hashtextextended('tasks.dispatch:' || %s, 0))"
# Agent (in lower case) -> how many of its tasks are at work, and how many may be.
_AT_WORK = """SELECT busy.name, busy.count, a.max_concurrency FROM (
        SELECT lower(assign_to) AS name, count(*) FROM tasks_task WHERE workspace_id = %s
           AND status IN ('assigned', 'in_progress', 'review') GROUP BY 1) AS busy
  LEFT JOIN formations_agent a ON a.workspace_id = %s AND lower(a.name) = busy.name"""
_ANY = "SELECT 1 FROM tasks_task WHERE workspace_id = %s AND ready LIMIT 1"
# The ids come from the index alone, some more than are needed: SKIP LOCKED passes over what somebody
# is editing, who must not hold up the others.
_NEXT = """SELECT * FROM tasks_task WHERE id = ANY(ARRAY(
        SELECT id FROM tasks_task WHERE workspace_id = %s AND ready
           AND NOT lower(assign_to) = ANY(%s)
         ORDER BY priority DESC, created_at, id LIMIT %s))
      AND workspace_id = %s AND ready
    ORDER BY priority DESC, created_at, id LIMIT %s FOR UPDATE SKIP LOCKED"""


def dispatch_tasks(actor: Actor) -> int:
    """Start what may start; returns how many left the queue."""
    actor.need(Scope.WRITE)
    done, more = 0, True
    # Asked first without the lock: of many who were woken at once most find the queue empty.
    while more and execute(_ANY, [actor.workspace_id]):
        left, more = _dispatch_batch(actor)
        done += left
    return done


@transaction.atomic
def _dispatch_batch(actor: Actor) -> tuple[int, bool]:
    """(how many left the queue, whether there may be more that can)."""
    execute(_SERIALISE, [str(actor.workspace_id)])
    preferences = preferences_of(actor)
    busy = execute(_AT_WORK, [actor.workspace_id, actor.workspace_id])
    at_work = Counter({name: count for name, count, _ in busy})
    # Without a cap of its own a workspace has the workers': a run that no worker takes is no progress.
    most = preferences.max_concurrency or settings.MAX_CONCURRENT_RUNS
    free = min(BATCH, most - at_work.total())
    if free <= 0:
        return 0, False
    picked = _pick(actor, [name for name, count, cap in busy if cap and count >= cap], free)
    agents = _agents(actor, {task.assign_to.lower() for task in picked})
    facts: list[Fact] = []
    left = 0
    for task in picked:
        found = agents.get(task.assign_to.lower())
        if found is not None and _is_full(found, at_work):
            continue
        left += 1
        facts += _start(actor, task, found, preferences)
        at_work[task.assign_to.lower()] += found is not None
    if facts:
        publish(actor, *facts)
    return left, left > 0 and len(picked) == free


def _pick(actor: Actor, full: list[str], limit: int) -> list[Task]:
    """The next tasks, locked, of agents that are not in `full` (lower case)."""
    workspace = actor.workspace_id
    rows = Task.objects.in_workspace(workspace)
    return list(rows.raw(_NEXT, [workspace, full, limit + BATCH, workspace, limit]))


def _is_full(agent: Agent, at_work: Mapping[str, int]) -> bool:
    most = agent.max_concurrency or 0  # 0: no cap of its own
    return 0 < most <= at_work.get(agent.name.lower(), 0)


def _agents(actor: Actor, names: Iterable[str]) -> dict[str, Agent]:
    """Lower-case name -> agent, of those that exist."""
    wanted = list(names)
    if not wanted:
        return {}
    named = list_agents(actor).annotate(lower=Lower("name")).filter(lower__in=wanted)
    return {agent.name.lower(): agent for agent in named}


def _start(actor: Actor, task: Task, agent: Agent | None, preferences: Preferences) -> list[Fact]:
    if agent is None:
        return [_fail_unassigned(actor, task)]
    asked_by = replace(actor, user_id=task.user_id, token_id=task.token_id)
    assigned = move(
        actor,
        task,
        TaskStatus.ASSIGNED,
        phase=task.phase or Phase.EXECUTION,
        outcomes=[],
        attempts=task.attempts + 1,
        started_at=timezone.now(),
        warned_at=None,
    )
    run, queued = queue_run(
        asked_by,
        kind=RunKind.TASK,
        subject=("task", task.pk),
        agent_id=agent.pk,
        run_input={"model": task.model} if task.model else {},
        limits=_limits(task, agent, preferences),
    )
    working = move(actor, task, TaskStatus.IN_PROGRESS, run_id=run.pk)
    spawned = AgentSpawned(task_id=task.pk, agent_name=agent.name, task_title=task.title)
    return [assigned, working, spawned, queued]


def _limits(task: Task, agent: Agent, preferences: Preferences) -> dict[str, Any]:
    """`engine.ports.Limits` of one attempt; a time of 0 is none."""
    ms = preferences.task_timeout if task.max_duration is None else task.max_duration
    return {"steps": agent.max_turns * STEPS_A_TURN, "seconds": ms / 1000 if ms else None}


def _fail_unassigned(actor: Actor, task: Task) -> Fact:
    """Contract §5.4: straight to failed, no retry."""
    words = f"There is no agent called {task.assign_to!r} in this workspace."
    result = {"exitCode": 1, "stdout": "", "stderr": words, "duration": 0}
    return force(actor, task, TaskStatus.FAILED, result=result, run_id=None)
