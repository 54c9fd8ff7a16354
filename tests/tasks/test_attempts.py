"""From ready to its end: what an attempt does, keeps and says (contract/polpo.md §5.4-5.5)."""

from __future__ import annotations

import pytest

from apps.approvals.models import Approval
from apps.approvals.services import decide, request
from apps.engine.ports import Ending, Fault, Outcome
from apps.formations.services import delete_agent, update_agent
from apps.runs.budgets import set_budget
from apps.runs.journal import RunJournal
from apps.runs.models import Run, Step
from apps.runs.services import claim_run
from apps.tasks.models import Task
from apps.tasks.services import reviewing
from tests.tasks.conftest import calls, says

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_task_without_expectations_is_done_when_its_agent_is(world):
    world.script(says("I begin. "), says("unused"))
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries, task.attempts) == ("done", 0, 1)
    assert task.result["exitCode"] == 0
    assert task.result["stdout"] == "I begin. "
    assert world.moves() == [
        ("pending", "assigned"),
        ("assigned", "in_progress"),
        ("in_progress", "review"),
        ("review", "done"),
    ]
    assert world.facts("task", "agent", "run") == [
        "task.created",
        "task.moved",
        "task.moved",
        "agent.spawned",
        "run.queued",
        "run.started",
        "agent.finished",
        "task.moved",
        "task.moved",
        "run.ended",
    ]


def test_the_result_is_the_last_thing_the_agent_said(world, register):
    async def look(context, arguments):
        return "nothing"

    register("look", look)
    world.script(says("Let me look.", calls=calls("look").calls), says("All is well."))
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert task.result["stdout"] == "All is well."
    active = world.told("agent.active")
    assert [(fact["agent_name"], fact["tool"]) for fact in active] == [("writer", "look")]


def test_a_result_with_expectations_is_judged_first(world, reviewer):
    task = world.task(expectations=[{"type": "llm_review", "criteria": "It rhymes."}])
    world.go()
    task.refresh_from_db()
    assert (task.status, task.phase) == ("review", "review")
    assert reviewer == [(task.pk, "initial")]


def test_what_looks_like_a_question_is_judged_too(world, reviewer):
    world.script(says("I cannot go on.\nIn which language?"))
    task = world.task()
    world.go()
    assert reviewer == [(task.pk, "initial")]


def test_a_question_after_files_were_touched_is_only_politeness(world, reviewer, register):
    async def write(context, arguments):
        return "written"

    register("write", write)
    world.script(calls("write", path="poem.md"), says("Done. Anything else?"))
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, reviewer) == ("done", [])


def test_a_review_that_nobody_does_is_a_programming_error(world, monkeypatch):
    monkeypatch.setattr(reviewing, "_opener", None)
    with pytest.raises(RuntimeError, match="nobody reviews"):
        reviewing.open_review(world.engine, world.task(), "initial")


def test_a_failed_attempt_is_tried_again_with_what_went_wrong(world):
    world.script(says("I tr", fault=Fault.REJECTED))
    task = world.task(max_retries=1)
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries, task.attempts) == ("failed", 1, 2)
    assert task.result["exitCode"] == 1
    assert "scripted" in task.result["stderr"]
    assert task.original_description == "Write a poem."
    assert "An earlier attempt failed" in task.description
    assert world.told("task.retried")[0]["attempt"] == 1
    assert world.facts("task")[-2:] == ["task.retries_spent", "task.moved"]
    assert ("in_progress", "pending") in world.moves()


def test_a_provider_that_is_not_there_fails_the_task_at_once(world):
    update_agent(world.aurora.ada, world.agent.pk, model="scripted/no-such-script")
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries, task.attempts) == ("failed", 0, 1)
    assert "no model" in task.result["stderr"]


def test_an_agent_that_leaves_before_its_run_begins_fails_the_task_at_once(world):
    task, _ = world.started()
    delete_agent(world.aurora.ada, world.agent.pk)
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries) == ("failed", 0)
    assert "has been removed" in task.result["stderr"]


def test_a_spent_budget_is_not_tried_again(world):
    set_budget(world.aurora.ada, "workspace", world.aurora.id, tokens=1)
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries) == ("failed", 0)
    assert "budget" in task.result["stderr"]


def test_a_run_is_held_to_the_turns_of_its_agent(world, register):
    async def again(context, arguments):
        return "again"

    register("again", again)
    world.script(*[calls("again") for _ in range(50)])
    update_agent(world.aurora.ada, world.agent.pk, max_turns=2)
    task, run = world.started(max_retries=0)
    world.go()
    task.refresh_from_db()
    assert "10 steps" in task.result["stderr"]
    assert Step.unscoped.filter(run=run).count() == 10


def test_an_attempt_over_its_time_goes_the_retry_path(world):
    world.script(says("I think", hang=True))
    task = world.task(max_duration=300, max_retries=0)
    world.go()
    task.refresh_from_db()
    assert task.status == "failed"
    assert world.told("task.timed_out")[0]["timeout"] == 300
    assert "[time_limit]" in task.result["stderr"]


def test_no_time_limit_is_what_zero_means(world):
    world.prefer(task_timeout=0)
    _, run = world.started()
    assert run.limits["seconds"] is None


# --- Waiting for a human --------------------------------------------------------------------------
@pytest.fixture
def asking(world, register):
    """A task that waits for a permission, its tool's calls, and the request."""
    made = []

    async def pay(context, arguments):
        made.append(context.key)
        return "paid"

    register("pay", pay, needs_approval=True)
    world.script(calls("pay", sum=3), says("Settled."))
    task = world.task()
    world.go()
    task.refresh_from_db()
    return task, made, Approval.unscoped.get()


def test_a_tool_that_needs_a_human_lets_the_task_wait(world, asking):
    task, made, asked = asking
    assert (task.status, task.approval_id, made) == ("awaiting_approval", asked.pk, [])
    assert Run.unscoped.get(pk=task.run_id).status == "waiting"


def test_a_permitted_task_goes_on_where_it_was(world, asking):
    task, made, asked = asking
    decide(world.aurora.ada, asked.pk, decision="approve")
    task.refresh_from_db()
    assert (task.status, task.approval_id) == ("in_progress", None)
    world.go()
    task.refresh_from_db()
    assert (task.status, task.attempts, len(made)) == ("done", 1, 1)
    assert world.moves()[2:5] == [
        ("in_progress", "awaiting_approval"),
        ("awaiting_approval", "assigned"),
        ("assigned", "in_progress"),
    ]


def test_a_refusal_with_words_stays_with_the_task(world, asking):
    task, made, asked = asking
    decide(world.aurora.ada, asked.pk, decision="reject", note="Too dear.")
    world.go()
    task.refresh_from_db()
    assert (task.status, task.revision_count, made) == ("done", 1, [])
    assert "Feedback 1 of a reviewer: Too dear." in task.description


def test_an_answer_that_comes_before_the_run_rests_is_not_lost(world):
    task, run = world.started()
    hold, _, _ = claim_run(run.workspace_id, run.pk)
    asked = request(
        world.engine, kind="question", action="Which?", subject_type="run", subject_id=run.pk
    )
    decide(world.aurora.ada, asked.pk, decision="approve", answer="This")
    RunJournal(world.engine, hold)._close(Outcome(Ending.WAITING, approval_id=str(asked.pk)))
    task.refresh_from_db()
    run.refresh_from_db()
    assert (task.status, run.status) == ("in_progress", "queued")


def test_a_late_result_changes_nothing(world):
    task, run = world.started()
    hold, _, _ = claim_run(run.workspace_id, run.pk)
    Task.unscoped.filter(pk=task.pk).update(run_id=task.pk)  # another attempt is under way
    RunJournal(world.engine, hold)._close(Outcome(Ending.DONE, text="Late."))
    task.refresh_from_db()
    assert (task.status, task.result) == ("in_progress", None)
