"""Queue, retry, kill and force-fail: who may, when, and what becomes of work under way (§5.6)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from apps.accounts.models import AuditEntry
from apps.approvals.models import Approval
from apps.core.errors import ScopeInsufficient
from apps.runs.models import Run
from apps.tasks.errors import TaskNotFound, TaskStateForbids
from apps.tasks.models import Task
from apps.tasks.services import force_fail_task, kill_task, queue_task, retry_task
from tests.support.stack import wait_until
from tests.tasks.conftest import calls, says

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_draft_starts_only_when_it_is_queued(world):
    task = world.task(draft=True)
    world.go()
    assert queue_task(world.aurora.ada, task.pk).status == "pending"
    world.go()
    task.refresh_from_db()
    assert task.status == "done"
    with pytest.raises(TaskStateForbids):
        queue_task(world.aurora.ada, task.pk)


def test_only_a_failed_task_is_retried(world):
    task = world.task()
    with pytest.raises(TaskStateForbids):
        retry_task(world.aurora.ada, task.pk)
    kill_task(world.aurora.ada, task.pk)
    again = retry_task(world.aurora.ada, task.pk, reason="once more")
    assert (again.status, again.retries) == ("pending", 1)
    world.go()
    assert Task.unscoped.get(pk=task.pk).status == "done"


@pytest.fixture
def hanging(world, register):
    """A task whose tool hangs: (task, future of its run, was it let go?)."""
    hangs, ended = threading.Event(), threading.Event()

    async def sleep(context, arguments):
        hangs.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    register("sleep", sleep, timeout=120)
    world.script(says("I wait.", calls=calls("sleep", seconds=60).calls), says("unused"))
    task, run = world.started()
    running = world.advance(run)
    assert hangs.wait(10)
    return task, running, ended


def test_a_hanging_tool_is_killed_at_once(world, hanging):
    task, running, ended = hanging
    began = time.monotonic()
    killed = kill_task(world.aurora.ada, task.pk, reason="enough")
    assert killed.status == "failed"  # in the same transaction, whatever the worker does
    running.result(5)
    assert ended.wait(1)
    assert time.monotonic() - began < 3
    task.refresh_from_db()
    assert (task.status, task.retries) == ("failed", 0)
    assert task.result["exitCode"] == 1
    assert task.result["stdout"] == "I wait."
    assert "Killed. enough" in task.result["stderr"]
    assert "in the tool sleep" in task.result["stderr"]
    assert Run.unscoped.get(pk=task.run_id).status == "cancelled"
    assert world.facts("task", "agent")[-2:] == ["task.moved", "agent.finished"]
    entry = AuditEntry.objects.get(action="task.killed")
    assert (entry.reason, entry.before, entry.after) == (
        "enough",
        {"status": "in_progress"},
        {"status": "failed"},
    )


def test_a_hanging_model_call_is_killed_too(world):
    world.script(says("I am thinking", hang=True))
    task, run = world.started()
    running = world.advance(run)
    wait_until(lambda: Run.unscoped.get(pk=run.pk).status == "running")
    kill_task(world.aurora.ada, task.pk)
    running.result(5)
    task.refresh_from_db()
    assert task.status == "failed"
    assert "waiting for the model's first reply" in task.result["stderr"]


def test_a_task_that_was_not_begun_is_killed(world):
    task = world.task()
    assert kill_task(world.aurora.ada, task.pk).status == "failed"
    assert world.moves() == [("pending", "failed")]


def test_a_killed_task_asks_nothing_any_more(world, register):
    async def pay(context, arguments):
        return "paid"

    register("pay", pay, needs_approval=True)
    world.script(calls("pay"), says("unused"))
    task = world.task()
    world.go()
    kill_task(world.aurora.ada, task.pk)
    task.refresh_from_db()
    assert (task.status, task.approval_id) == ("failed", None)
    assert Approval.unscoped.get().status == "withdrawn"
    assert Run.unscoped.get().status == "cancelled"


def test_a_finished_task_stays_as_it_is(world):
    task = world.task()
    world.go()
    assert kill_task(world.aurora.ada, task.pk).status == "done"
    with pytest.raises(TaskStateForbids):
        force_fail_task(world.aurora.ada, task.pk)


def test_a_result_that_is_killed_in_its_review_has_failed(world, reviewer):
    task = world.task(expectations=[{"type": "llm_review", "criteria": "It rhymes."}])
    world.go()
    killed = kill_task(world.aurora.ada, task.pk)
    assert (killed.status, killed.result["exitCode"]) == ("failed", 1)
    assert (killed.result["stdout"], killed.result["stderr"]) == ("It is written.", "Killed.")


def test_what_is_given_up_says_why(world):
    task = world.task()
    failed = force_fail_task(world.aurora.ada, task.pk, reason="It waits for nothing.")
    assert failed.result["stderr"] == "Given up. It waits for nothing."


def test_a_run_stopped_by_an_operator_is_not_tried_again(world):
    from apps.runs.services import cancel_run

    task, run = world.started()
    cancel_run(world.aurora.ada, run.pk, reason="by the console")
    task.refresh_from_db()
    assert (task.status, task.retries) == ("failed", 0)
    assert "by the console" in task.result["stderr"]


@pytest.mark.parametrize("verb", [queue_task, retry_task, kill_task, force_fail_task])
def test_a_viewer_and_a_stranger_steer_nothing(world, borealis, verb):
    task = world.task(draft=True)
    with pytest.raises(ScopeInsufficient):
        verb(world.aurora.cleo, task.pk)
    with pytest.raises(TaskNotFound):
        verb(borealis.mallory, task.pk)
    task.refresh_from_db()
    assert task.status == "draft"
