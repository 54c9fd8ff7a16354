"""What a verdict means: done, mended, tried again, asked back, or given up (contract §5.5, §6.5-6.6)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from apps.approvals.models import Approval
from apps.approvals.services import decide, withdraw
from apps.events.services import publish
from apps.formations.services import create_agent, update_agent
from apps.tasks.models import Task
from apps.tasks.services import conclude, lock_task

pytestmark = pytest.mark.django_db(transaction=True)

JUDGED = [{"type": "llm_review", "criteria": "It rhymes."}]


@pytest.fixture
def judge(world, reviewer):
    """`judge(task, passed=False, …)`: run the task to its review and conclude it."""

    def concluded(task, **verdict):
        world.go()
        with transaction.atomic():
            row = lock_task(world.engine, task.pk)
            facts = conclude(world.engine, row, **verdict)
            if facts:
                publish(world.engine, *facts)
        task.refresh_from_db()
        return task

    return concluded


@pytest.fixture
def task(world):
    return world.task(expectations=JUDGED)


def test_a_result_that_passes_is_done(judge, task):
    assert judge(task, passed=True).status == "done"


def test_a_deadline_that_is_kept_is_news(judge, world):
    task = world.task(expectations=JUDGED, deadline=timezone.now() + timedelta(hours=1))
    assert judge(task, passed=True).sla == "kept"
    assert world.told("sla.kept")[0]["margin_ms"] > 3_500_000


def test_a_result_that_does_not_pass_is_mended(judge, task, world, reviewer):
    judge(task, passed=False, message="The third line does not rhyme.", score=2.5)
    assert (task.status, task.phase, task.fix_attempts, task.retries) == ("pending", "fix", 1, 0)
    assert task.description.startswith("Write a poem.")
    assert "The third line does not rhyme." in task.description
    assert "Score: 2.5 of 5." in task.description
    assert "fix 1 of 2" in task.description
    assert world.told("task.fix_started") == [{"task_id": str(task.pk), "attempt": 1, "max_fix": 2}]
    world.go()
    assert reviewer[-1] == (task.pk, "fix")


def test_a_second_fix_brief_replaces_the_first(judge, task):
    judge(task, passed=False, message="one")
    judge(task, passed=False, message="two")
    assert (task.fix_attempts, task.original_description) == (2, "Write a poem.")
    assert "two" in task.description
    assert "one\n" not in task.description


def test_spent_fixes_are_a_retry_from_the_start(judge, task, reviewer, world):
    for words in ("one", "two", "three"):
        judge(task, passed=False, message=words)
    assert (task.status, task.phase) == ("pending", "execution")
    assert (task.retries, task.fix_attempts) == (1, 0)
    assert "An earlier attempt failed (this is retry 1)" in task.description
    assert "three" in task.description
    world.go()
    assert reviewer[-1] == (task.pk, "retry")


def test_one_retry_and_two_fixes_are_six_runs(judge, world):
    """Measured upstream (contract §5.5)."""
    task = world.task(expectations=JUDGED, max_retries=1)
    for _ in range(6):
        judge(task, passed=False, message="no")
    assert (task.status, task.attempts, task.retries) == ("failed", 6, 1)
    counted = [
        len(world.told(f"task.{name}")) for name in ("fix_started", "retried", "retries_spent")
    ]
    assert counted == [4, 1, 1]


def test_a_question_is_answered_and_no_retry_is_burned(judge, task, world):
    judge(task, passed=False, question=("In which language?", "In English."))
    assert (task.status, task.phase) == ("pending", "clarification")
    assert (task.question_rounds, task.retries, task.fix_attempts) == (1, 0, 0)
    assert "You asked: In which language?\nAnswer: In English." in task.description
    assert world.facts("task")[-3:] == ["task.asked", "task.answered", "task.moved"]
    judge(task, passed=False, message="It does not rhyme.")
    assert "Answer: In English." in task.description  # a later brief still has it


def test_outcomes_do_not_survive_into_the_next_attempt(judge, task):
    Task.unscoped.filter(pk=task.pk).update(outcomes=[{"id": "x"}])
    assert judge(task, passed=False, message="no").outcomes == []


def test_corrected_expectations_are_kept_and_told(judge, task, world):
    corrected = [{"type": "file_exists", "paths": ["b.txt"]}]
    judge(task, passed=True, expectations=corrected, corrections=[{"from": "a", "to": "b"}])
    assert (task.status, task.expectations) == ("done", corrected)
    assert world.told("assessment.corrected")[0]["corrections"] == [{"from": "a", "to": "b"}]


def test_a_verdict_on_a_task_that_was_killed_is_too_late(judge, task, world):
    world.go()
    Task.unscoped.filter(pk=task.pk).update(status="failed")
    assert judge(task, passed=True).status == "failed"


@pytest.mark.parametrize(
    ("before", "passed", "after"),
    [("failed", True, "done"), ("done", False, "failed"), ("done", True, "done")],
)
def test_a_changed_verdict_changes_only_the_status(judge, task, world, before, passed, after):
    world.go()
    Task.unscoped.filter(pk=task.pk).update(status=before)
    judge(task, passed=passed, trigger="reassess")
    assert (task.status, task.retries) == (after, 0)


# --- Escalation -----------------------------------------------------------------------------------
POLICY = {"escalateAfter": 2, "fallbackAgent": "chief", "escalateModel": "scripted:echo"}


def spend_fixes(judge, task):
    for _ in range(3):
        judge(task, passed=False, message="no")


def test_from_its_threshold_on_another_agent_and_model_take_over(judge, world):
    task = world.task(expectations=JUDGED, retry_policy=POLICY)
    create_agent(world.aurora.ada, name="chief", model=world.agent.model)
    spend_fixes(judge, task)
    assert (task.retries, task.assign_to, task.model) == (1, "writer", "")
    spend_fixes(judge, task)
    assert (task.retries, task.assign_to, task.model) == (2, "chief", "scripted/echo")


def test_without_a_fallback_the_superior_takes_over(judge, world):
    create_agent(world.aurora.ada, name="boss", model=world.agent.model)
    update_agent(world.aurora.ada, world.agent.pk, reports_to="boss")
    task = world.task(expectations=JUDGED, retry_policy={"escalateAfter": 1})
    spend_fixes(judge, task)
    assert task.assign_to == "boss"


# --- Effects outside ------------------------------------------------------------------------------
@pytest.fixture
def blocked(judge, world):
    task = world.task(expectations=JUDGED, side_effects=True)
    return judge(task, passed=False, message="The mail had no subject.")


def test_work_with_effects_outside_is_not_repeated_unasked(blocked, world):
    asked = Approval.unscoped.get()
    assert (blocked.status, blocked.approval_id) == ("awaiting_approval", asked.pk)
    assert (asked.subject_type, asked.subject_id) == ("task", blocked.pk)
    assert world.facts("task", "approval")[-3:] == [
        "task.retry_blocked",
        "task.moved",
        "approval.requested",
    ]


def test_what_was_allowed_is_done_again(blocked, world):
    decide(world.aurora.ada, Approval.unscoped.get().pk, decision="approve")
    blocked.refresh_from_db()
    assert (blocked.status, blocked.phase, blocked.fix_attempts) == ("pending", "fix", 1)
    assert "The mail had no subject." in blocked.description


def test_what_was_refused_has_failed(blocked, world):
    decide(world.aurora.ada, Approval.unscoped.get().pk, decision="reject", note="Never again.")
    blocked.refresh_from_db()
    assert (blocked.status, blocked.revision_count) == ("failed", 1)
    assert "Never again." in blocked.result["stderr"]
    assert "Feedback 1 of a reviewer: Never again." in blocked.description


def test_a_request_that_is_taken_back_has_failed_too(blocked, world):
    withdraw(world.aurora.ada, Approval.unscoped.get().pk)
    blocked.refresh_from_db()
    assert blocked.status == "failed"


def test_nobody_is_asked_when_there_is_no_attempt_left(judge, world):
    world.prefer(max_fix_attempts=0)
    task = world.task(expectations=JUDGED, side_effects=True, max_retries=0)
    assert judge(task, passed=False, message="no").status == "failed"
    assert not Approval.unscoped.exists()
