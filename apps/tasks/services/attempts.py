"""An attempt and its run: which task it is of, when it waits for a human, and what its end means.

The run's own row is written by `runs`; these functions run in its transaction, on the locked task,
and return the facts it publishes. A run that its task no longer knows changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.core.rows import execute
from apps.engine.ports import Ending
from apps.events.services import publish
from apps.runs.models import Run, RunKind
from apps.tasks.events import AgentActive, AgentFinished, TaskTimedOut
from apps.tasks.models import Phase, Task, TaskStatus, Trigger
from apps.tasks.services import reviewing
from apps.tasks.services.moving import move
from apps.tasks.traces import diagnosis

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.engine.ports import Outcome
    from apps.runs.events import ToolCalled
    from apps.runs.holding import Hold

AT_WORK = (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.AWAITING_APPROVAL)
LONGEST_PATH = 500  # characters told in a fact
LONGEST_OUTPUT = 100_000  # characters of stdout and stderr that are kept

# Why a run was cancelled, when it was not a human's wish: it is tried again.
OVERDUE, SILENT = "timeout", "stale"
TIME_LIMIT = "time_limit"  # the engine's own word for the first
# What another attempt would meet again (contract §5.4): the agent or its provider is not there, or
# nothing may be spent any more.
HOPELESS = frozenset(
    {
        "agent_not_found",
        "provider_not_configured",
        "provider_auth",
        "model_not_found",
        "budget_exceeded",
    }
)

_LOCK = """SELECT 1 FROM tasks_task WHERE workspace_id = %s AND id = (
    SELECT subject_id FROM runs_run WHERE workspace_id = %s AND id = %s AND kind = 'task') FOR UPDATE"""

_WORKER = """SELECT t.id, t.assign_to FROM runs_run r JOIN tasks_task t
    ON t.workspace_id = r.workspace_id AND t.id = r.subject_id AND t.run_id = r.id
 WHERE r.workspace_id = %s AND r.id = %s"""


def lock_attempt(hold: Hold) -> None:
    """The task stands above its runs: its row first."""
    execute(_LOCK, [hold.workspace_id, hold.workspace_id, hold.run_id])


def task_at(actor: Actor, run_id: UUID) -> Task | None:
    """The locked task whose attempt under way this run is; None when it is of the past."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(pk=run_id, kind=RunKind.TASK)
    tasks = Task.objects.in_workspace(actor.workspace_id).select_for_update()
    subject = runs.values_list("subject_id", flat=True).first()
    task: Task | None = tasks.filter(pk=subject, run_id=run_id, status__in=AT_WORK).first()
    return task


def wait_for_human(actor: Actor, run_id: UUID, approval_id: UUID) -> list[Fact]:
    """The run rests for a decision, and its task with it."""
    task = task_at(actor, run_id)
    if task is None or task.status == TaskStatus.AWAITING_APPROVAL:
        return []
    return [move(actor, task, TaskStatus.AWAITING_APPROVAL, approval_id=approval_id)]


def go_on(actor: Actor, run_id: UUID) -> list[Fact]:
    """The decision has come: back to work, by the way the table allows."""
    task = task_at(actor, run_id)
    if task is None or task.status != TaskStatus.AWAITING_APPROVAL:
        return []
    assigned = move(actor, task, TaskStatus.ASSIGNED, approval_id=None)
    return [assigned, move(actor, task, TaskStatus.IN_PROGRESS)]


def end_attempt(actor: Actor, run_id: UUID, outcome: Outcome) -> list[Fact]:
    """The run is over (contract §5.5): keep its result, then judge it, try again or give up."""
    task = task_at(actor, run_id)
    if task is None:
        return []
    run = Run.objects.in_workspace(actor.workspace_id).get(pk=run_id)
    result = _result(run, outcome)
    finished = AgentFinished(
        task_id=task.pk,
        agent_name=task.assign_to,
        exit_code=result["exitCode"],
        duration=result["duration"],
    )
    if result["exitCode"] == 0:
        return [finished, *_judge(actor, task, result)]
    return [*_timed_out(task, run, outcome), finished, *_failed(actor, task, run, outcome, result)]


def _judge(actor: Actor, task: Task, result: dict[str, Any]) -> list[Fact]:
    from apps.tasks.services.outcomes import finish, preferences_of

    trigger = _trigger(task)
    moved = move(actor, task, TaskStatus.REVIEW, result=result, phase=Phase.REVIEW)
    if reviewing.needs_review(actor, task, preferences_of(actor)):
        return [moved, *reviewing.open_review(actor, task, trigger)]
    return [moved, *finish(actor, task)]


def _trigger(task: Task) -> Trigger:
    if task.phase == Phase.FIX:
        return Trigger.FIX
    return Trigger.RETRY if task.retries else Trigger.INITIAL


def _failed(
    actor: Actor, task: Task, run: Run, outcome: Outcome, result: dict[str, Any]
) -> list[Fact]:
    """No result to judge. Not tried again: what somebody stopped, and what has no prospect."""
    from apps.tasks.services.outcomes import retry

    stopped = outcome.ending is Ending.CANCELLED and run.cancel_reason not in {OVERDUE, SILENT}
    if stopped or outcome.code in HOPELESS:
        return [move(actor, task, TaskStatus.FAILED, result=result, approval_id=None)]
    return retry(actor, task, message=outcome.message, result=result)


def _result(run: Run, outcome: Outcome) -> dict[str, Any]:
    """TaskResult without its assessments (contract §5.2)."""
    exit_code = 0 if outcome.ending is Ending.DONE else 1
    return result_of(
        run, exit_code=exit_code, stdout=outcome.last, stderr=_stderr(run, outcome, exit_code)
    )


def result_of(run: Run, *, exit_code: int, stdout: str, stderr: str) -> dict[str, Any]:
    began = run.started_at or run.created_at
    return {
        "exitCode": exit_code,
        "stdout": stdout.replace("\x00", "")[-LONGEST_OUTPUT:],
        "stderr": stderr.replace("\x00", "")[-LONGEST_OUTPUT:],
        "duration": max(0, round((timezone.now() - began).total_seconds() * 1000)),
    }


def _stderr(run: Run, outcome: Outcome, exit_code: int) -> str:
    if exit_code == 0:
        return ""
    words = [outcome.message, f"[{outcome.code}]" if outcome.code else ""]
    if outcome.ending is Ending.CANCELLED:
        words = ["The run was stopped:", run.cancel_reason or "cancelled"]
    if outcome.ending is Ending.CANCELLED or outcome.code == TIME_LIMIT:
        words.append("\n" + diagnosis(run.workspace_id, run.pk))
    return " ".join(word for word in words if word).strip()


def _timed_out(task: Task, run: Run, outcome: Outcome) -> list[Fact]:
    overdue = outcome.ending is Ending.CANCELLED and run.cancel_reason == OVERDUE
    if not overdue and outcome.code != TIME_LIMIT:
        return []
    began = run.started_at or run.created_at
    elapsed = round((timezone.now() - began).total_seconds() * 1000)
    timeout = round(1000 * (run.limits.get("seconds") or 0))
    return [TaskTimedOut(task_id=task.pk, elapsed=elapsed, timeout=timeout)]


def say_active(actor: Actor, fact: ToolCalled) -> None:
    """A call of an attempt, as news about its task (contract §15: agent:activity)."""
    found = execute(_WORKER, [actor.workspace_id, fact.run_id])
    if not found:
        return
    subject, agent = found[0]
    arguments = fact.arguments if isinstance(fact.arguments, dict) else {}
    active = AgentActive(
        task_id=subject,
        agent_name=agent,
        tool=fact.tool,
        file=str(arguments.get("path") or "")[:LONGEST_PATH],
    )
    publish(actor, active)
