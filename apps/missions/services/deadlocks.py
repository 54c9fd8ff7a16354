"""Deadlocks: nothing moves and nothing will (contract/polpo.md §5.7).

A task that waits for something that was removed, or behind a gate that failed, is failed. For one whose
dependency failed a model decides: go on without it (absorb), try the dependency again, or give up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.missions.events import (
    DeadlockDetected,
    DeadlockResolved,
    DeadlockThoughtOver,
    DeadlockUnresolvable,
    TasksDeadlocked,
)
from apps.tasks.models import Task, TaskStatus
from apps.tasks.selectors import get_task
from apps.tasks.services import absorb_dependency, fail_tasks, lock_task, retry_tasks
from apps.tasks.services.judging import is_at_work, open_work
from apps.workspaces.preferences import read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.decision import Deadlock
    from apps.missions.models import Mission

WORK = "deadlock"


def settle_deadlock(
    actor: Actor, mission: Mission, tasks: Sequence[Task], deadlock: Deadlock
) -> list[Fact]:
    """What is hopeless fails; what is not is thought over. Empty while all of that is under way."""
    by_title = {task.title: task for task in tasks}
    stuck = [by_title[title].pk for title in deadlock.stuck]
    facts: list[Fact] = []
    if stuck:
        facts += fail_tasks(actor, stuck, reason="What it waits for will never be done.")
        facts.append(TasksDeadlocked(mission_id=mission.pk, task_ids=stuck))
    open_ = {
        title: roots for title, roots in deadlock.failed.items() if title not in deadlock.stuck
    }
    asked = [title for title in open_ if not is_at_work(actor, by_title[title].pk, WORK)]
    if not asked:
        return facts
    most = read_preferences(get_workspace(actor).settings).max_resolution_attempts
    hopeful = [title for title in asked if by_title[title].resolution_attempts < most]
    ids = [by_title[title].pk for title in asked]
    facts.append(
        DeadlockDetected(mission_id=mission.pk, task_ids=ids, resolvable_count=len(hopeful))
    )
    for title in asked:
        root = by_title[open_[title][0]]
        if title in hopeful:
            facts += _think_over(actor, mission, by_title[title], root)
        else:
            facts += _give_up(actor, mission, by_title[title].pk, "It was thought over too often.")
    return facts


def _think_over(actor: Actor, mission: Mission, task: Task, root: Task) -> list[Fact]:
    """Asks a model, as a run of its own: this transaction does not wait for it."""
    told = {"root": str(root.pk), "mission": str(mission.pk)}
    facts = open_work(actor, task, WORK, told)
    return [
        DeadlockThoughtOver(mission_id=mission.pk, task_id=task.pk, failed_dep_id=root.pk),
        *facts,
    ]


def _give_up(actor: Actor, mission: Mission, task_id: UUID, reason: str) -> list[Fact]:
    return [
        *fail_tasks(actor, [task_id], reason=reason),
        DeadlockUnresolvable(mission_id=mission.pk, task_id=task_id, reason=reason),
    ]


PROMPT = """A task of a mission cannot start, because a task it depends on has failed.

The task: {title}
{description}

What it depends on: {root_title} (failed; tried again {retries} of {max_retries} times)
{root_description}
Why that failed: {failure}

Choose one:
- absorb: the task can be done without it; say in `description` what it must then do in addition
- retry: the failed task is worth another try
- fail: neither makes sense"""
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "action": {"enum": ["absorb", "retry", "fail"]},
        "reason": {"type": "string"},
        "description": {"type": "string"},
    },
    "required": ["action", "reason"],
}
LONGEST = 4_000  # characters of each text the model is shown


class Deadlocks:
    """`tasks.reviewing.Work`: what is asked, and what follows from the answer."""

    def question(
        self, actor: Actor, task: Task, told: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """(prompt, schema of the answer). TaskNotFound when the dependency was removed meanwhile."""
        root = get_task(actor, UUID(told["root"]))
        failure = (root.result or {}).get("stderr") or (root.result or {}).get("stdout") or ""
        prompt = PROMPT.format(
            title=task.title,
            description=task.description[:LONGEST],
            root_title=root.title,
            root_description=root.description[:LONGEST],
            retries=root.retries,
            max_retries=root.max_retries,
            failure=failure[-LONGEST:] or "nothing was said",
        )
        return prompt, ANSWER

    def concluded(
        self, actor: Actor, task: Task, told: dict[str, Any], answer: dict[str, Any] | None
    ) -> list[Fact]:
        """`task` is locked; `answer` None: no model could be asked, so another try, or the end."""
        mission_id, root_id = UUID(told["mission"]), UUID(told["root"])
        if task.status != TaskStatus.PENDING:
            return []
        said = answer or {"action": "retry", "reason": "No model could be asked."}
        reason = str(said.get("reason", ""))[:500]
        facts = self._carry_out(actor, task, root_id, said)
        if facts is None:
            failed = fail_tasks(actor, [task.pk], reason=reason or "Its dependency failed.")
            gone = DeadlockUnresolvable(mission_id=mission_id, task_id=task.pk, reason=reason)
            return [*failed, gone]
        resolved = DeadlockResolved(
            mission_id=mission_id,
            task_id=task.pk,
            failed_dep_id=root_id,
            action=str(said["action"]),
            reason=reason,
        )
        return [*facts, resolved]

    def _carry_out(
        self, actor: Actor, task: Task, root_id: UUID, said: dict[str, Any]
    ) -> list[Fact] | None:
        """None: nothing can be done."""
        if said["action"] == "absorb":
            return absorb_dependency(actor, task, root_id, str(said.get("description", "")))
        root = lock_task(actor, root_id)
        if said["action"] != "retry" or root.retries >= root.max_retries:
            return None
        task.resolution_attempts += 1
        task.save(update_fields=["resolution_attempts"])
        return retry_tasks(actor, [root_id])
