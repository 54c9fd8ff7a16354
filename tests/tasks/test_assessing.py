"""From a result to its verdict: checks, reviewers, corrections, questions (contract/polpo.md §6)."""

from __future__ import annotations

import time

import pytest

from apps.engine.ports import Fault
from apps.engine.providers.scripted import Line
from apps.runs.models import Run, Step
from apps.tasks.models import Assessment
from apps.workspaces.files import files_root
from tests.tasks.conftest import says
from tests.tasks.judges import WORDS, answers, seat, submits

pytestmark = pytest.mark.django_db(transaction=True)

REVIEW = {
    "type": "llm_review",
    "dimensions": [
        {"name": "correctness", "description": "Right?", "weight": 0.6},
        {"name": "completeness", "description": "Whole?", "weight": 0.4},
    ],
}
TWO = ("correctness", "completeness")


@pytest.fixture
def judge(world, monkeypatch):
    return seat(monkeypatch, world)


@pytest.fixture
def folder(world, tmp_path, settings):
    settings.DATA_DIR = tmp_path
    return files_root(world.aurora.id)


def judged(world, **fields):
    """A task that has been worked on and judged until nothing more happens, and its assessments."""
    task = world.task(max_retries=0, **fields)
    world.go()
    task.refresh_from_db()
    return task, list(Assessment.unscoped.filter(task=task).order_by("number"))


def test_a_result_that_passes_every_check_is_done(world, judge, folder):
    (folder / "poem.txt").write_text("roses")
    judge.on("submit_review", submits(4, names=TWO))
    task, [first] = judged(
        world,
        expectations=[
            {"type": "test", "command": "grep -q roses poem.txt"},
            {"type": "file_exists", "paths": ["poem.txt"]},
            REVIEW,
        ],
        metrics=[{"name": "lines", "command": "echo 7", "threshold": 5}],
    )
    assert task.status == "done"
    assert (first.number, first.trigger, first.passed) == (1, "initial", True)
    assert [check["type"] for check in first.checks] == ["test", "file_exists", "llm_review"]
    assert first.metrics == [{"name": "lines", "value": 7.0, "threshold": 5, "passed": True}]
    assert first.global_score == 4.0
    assert first.run_id == task.run_id


def test_each_thing_is_told_as_it_happens(world, judge, folder):
    judge.on("submit_review", submits(4, names=TWO))
    judged(world, expectations=[{"type": "script", "command": "true"}, REVIEW])
    told = world.facts("assessment")
    assert told[:3] == [
        "assessment.started",
        "assessment.check_started",
        "assessment.check_started",
    ]
    assert sorted(told[3:5]) == ["assessment.check_completed"] * 2
    assert told[5:] == ["assessment.completed"]
    [script, review] = sorted(
        world.told("assessment.check_completed"), key=lambda fact: fact["index"]
    )
    assert (script["label"], script["total"], script["passed"]) == ("true", 2, True)
    assert review["label"] == "correctness, completeness"
    assert world.told("assessment.completed")[0]["global_score"] == 4.0


def test_a_result_that_fails_is_mended_and_judged_as_a_fix(world, folder):
    task, rows = judged(world, expectations=[{"type": "test", "command": "echo no >&2; exit 3"}])
    assert task.status == "failed"
    assert [row.trigger for row in rows] == ["initial", "fix", "fix"]
    assert [row.number for row in rows] == [1, 2, 3]
    assert rows[0].checks[0]["message"] == "Exit code 3."
    assert "no" in rows[0].checks[0]["details"]
    assert "Exit code 3." in task.description


def test_a_retry_is_judged_as_one(world, folder):
    world.prefer(max_fix_attempts=0)
    task = world.task(max_retries=1, expectations=[{"type": "test", "command": "false"}])
    world.go()
    triggers = Assessment.unscoped.filter(task=task).order_by("number")
    assert list(triggers.values_list("trigger", flat=True)) == ["initial", "retry"]


def test_a_metric_that_is_missed_fails_the_task(world, folder):
    world.prefer(max_fix_attempts=0)
    metric = {"name": "coverage", "command": "echo 41.5", "threshold": 80}
    task, [row] = judged(world, metrics=[metric])
    assert (task.status, row.metrics[0]["value"]) == ("failed", 41.5)


# --- Corrections ------------------------------------------------------------------------------
def test_an_estimated_path_is_corrected_to_where_the_file_is(world, folder):
    (folder / "out" / "deep").mkdir(parents=True)
    (folder / "out" / "deep" / "poem.txt").write_text("roses")
    wanted = [{"type": "file_exists", "paths": ["poem.txt"]}, {"type": "test", "command": "true"}]
    task, rows = judged(world, expectations=wanted)
    assert task.status == "done"
    assert task.expectations[0]["paths"] == ["out/deep/poem.txt"]
    assert [(row.trigger, row.passed) for row in rows] == [
        ("initial", False),
        ("auto-correct", True),
    ]
    [corrected] = world.told("assessment.corrected")
    assert corrected["corrections"][0]["after"] == ["out/deep/poem.txt"]
    started = [fact["type"] for fact in world.told("assessment.check_started")]
    assert sorted(started) == ["file_exists", "file_exists", "test"]  # what passed is not run again


def test_a_firm_path_is_never_corrected(world, folder):
    world.prefer(max_fix_attempts=0)
    (folder / "out").mkdir()
    (folder / "out" / "poem.txt").write_text("roses")
    firm = {"type": "file_exists", "paths": ["poem.txt"], "confidence": "firm"}
    task, [row] = judged(world, expectations=[firm])
    assert (task.status, row.passed) == ("failed", False)
    assert task.expectations[0]["paths"] == ["poem.txt"]


def test_corrections_can_be_switched_off(world, folder):
    world.prefer(max_fix_attempts=0, auto_correct_expectations=False)
    (folder / "out").mkdir()
    (folder / "out" / "poem.txt").write_text("roses")
    task, _ = judged(world, expectations=[{"type": "file_exists", "paths": ["poem.txt"]}])
    assert task.status == "failed"


def test_a_judge_may_correct_an_estimated_command(world, judge, folder):
    fix = {"index": 0, "command": "true", "reason": "There is no such script."}
    judge.on("correct_expectations", answers("correct_expectations", corrections=[fix]))
    estimated = {"type": "test", "command": "./missing.sh", "confidence": "estimated"}
    task, rows = judged(world, expectations=[estimated])
    assert [row.trigger for row in rows] == ["initial", "judge"]
    assert (task.status, task.expectations[0]["command"]) == ("done", "true")


def test_no_judge_is_asked_when_the_score_is_low(world, judge, folder):
    world.prefer(max_fix_attempts=0)
    judge.on("submit_review", submits(2, names=TWO))
    task, _ = judged(world, expectations=[REVIEW | {"confidence": "estimated"}])
    assert task.status == "failed"
    assert "correct_expectations" not in judge.asked


def test_a_corrected_threshold_is_held_against_the_same_scores(world, judge, folder):
    judge.on("submit_review", submits(3, names=TWO))
    fix = {"index": 0, "threshold": 3, "reason": "Three is good enough."}
    judge.on("correct_expectations", answers("correct_expectations", corrections=[fix]))
    review = REVIEW | {"confidence": "estimated", "threshold": 4.5}
    task, rows = judged(world, expectations=[review])
    assert (task.status, rows[-1].global_score) == ("done", 3.0)
    assert judge.asked.count("submit_review") == 3


# --- Questions --------------------------------------------------------------------------------
def test_a_question_is_answered_and_the_work_goes_on(world, judge):
    world.script(says("In which language?"))
    ask = answers("classify", isQuestion=True, question="In which language?")
    judge.on("classify", ask, answers("classify", isQuestion=False))
    judge.on(WORDS, says("In English."))
    task, rows = judged(world)
    assert (task.status, task.question_rounds, task.retries) == ("done", 1, 0)
    assert "In English." in task.description
    assert rows == []
    assert world.facts("task").count("task.answered") == 1


def test_what_only_looks_like_a_question_is_a_result(world, judge):
    world.script(says("Done. Anything else?"))
    judge.on("classify", answers("classify", isQuestion=False))
    task, rows = judged(world)
    assert (task.status, task.question_rounds, rows) == ("done", 0, [])


def test_without_a_model_a_question_is_taken_as_the_result(world, judge):
    world.script(says("In which language?"))
    judge.on("classify", Line(fault=Fault.AUTH))
    task, _ = judged(world)
    assert task.status == "done"


# --- What goes wrong --------------------------------------------------------------------------
def test_a_review_nobody_can_do_fails_its_check_after_one_more_try(world, judge, folder):
    world.prefer(max_fix_attempts=0)
    judge.on("submit_review", Line(fault=Fault.AUTH))
    task, [row] = judged(world, expectations=[REVIEW])
    assert task.status == "failed"
    assert row.checks[0]["message"].startswith("No reviewer could judge")
    assert len(judge.asked) == 3 * 2 * 2  # reviewers, tries of each, tries of the whole
    assert world.facts("assessment").count("assessment.progressed") == 1


def test_a_review_that_crashes_fails_the_task_and_says_so(world, folder, monkeypatch):
    monkeypatch.setattr("apps.tasks.assessing.checks.look_for", None)
    task, [row] = judged(world, expectations=[{"type": "file_exists", "paths": ["a"]}])
    assert task.status == "failed"
    assert "came to no end" in row.checks[0]["message"]


def test_a_killed_task_stays_killed_whatever_its_review_finds(world, folder):
    from apps.tasks.services import kill_task

    task, run = world.started(expectations=[{"type": "script", "command": "sleep 60"}])
    world.advance(run).result(20)
    review = Run.unscoped.get(kind="review")
    going = world.advance(review)
    wait_for_command(review)
    began = time.monotonic()
    kill_task(world.aurora.ada, task.pk)
    going.result(20)
    assert time.monotonic() - began < 1.5
    task.refresh_from_db()
    review.refresh_from_db()
    assert (task.status, review.status) == ("failed", "cancelled")
    assert not Assessment.unscoped.filter(task=task).exists()


def wait_for_command(review):
    """Until its beginning is journaled, and the command had time to start."""
    while not Step.unscoped.filter(run=review).exists():
        time.sleep(0.02)
    time.sleep(0.3)


def test_the_whole_way_takes_no_time_of_its_own(world, judge, folder):
    (folder / "poem.txt").write_text("roses")
    judge.on("submit_review", submits(4, names=TWO))
    wanted = [REVIEW, {"type": "file_exists", "paths": ["poem.txt"]}]
    judged(world, title="Warm up", expectations=wanted)
    began = time.monotonic()
    task, _ = judged(world, expectations=wanted)
    assert task.status == "done"
    assert time.monotonic() - began < 2.0
