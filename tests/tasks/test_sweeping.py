"""What nobody told the dispatcher, what fell silent, what was left behind, what is late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.ids import uuid7
from apps.runs.models import Run, Step
from apps.runs.services import claim_run, sweep_leases
from apps.tasks import jobs, sweeper
from apps.tasks.models import Task

pytestmark = pytest.mark.django_db(transaction=True)


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


@pytest.fixture
def working(world):
    """A task in this process's hands, as (task, run), idle since `idle` seconds."""

    def make(idle, **fields):
        task, run = world.started(**fields)
        claim_run(run.workspace_id, run.pk)
        Run.unscoped.filter(pk=run.pk).update(started_at=ago(idle))
        Task.unscoped.filter(pk=task.pk).update(updated_at=ago(idle))
        return task, run

    return make


def asked_to_stop(run):
    run.refresh_from_db()
    return run.cancel_reason


def test_a_lost_nudge_is_made_up_for(world):
    world.task()
    world.queue.clear()
    jobs.sweep()
    assert world.queue == [("tasks.dispatch", {"workspace_id": str(world.aurora.id)})]


def test_every_workspace_with_ready_tasks_is_found(world, borealis):
    world.task()
    Task.unscoped.create(
        workspace_id=borealis.id, title="b", description="", assign_to="x", ready=True
    )
    Task.unscoped.create(workspace_id=borealis.id, title="c", description="", assign_to="x")
    assert sweeper.wake_dispatchers() == 2


def test_silence_is_warned_of_once(world, working):
    _, run = working(400)
    assert (sweeper.watch_attempts(), sweeper.watch_attempts()) == (1, 0)
    told = world.told("agent.went_stale")
    assert [(fact["action"], fact["agent_name"]) for fact in told] == [("warning", "writer")]
    assert told[0]["idle_ms"] >= 400_000
    assert asked_to_stop(run) == ""


def test_twice_that_silence_ends_the_attempt(world, working):
    _, run = working(601)
    assert sweeper.watch_attempts() == 1
    assert world.told("agent.went_stale")[0]["action"] == "killed"
    assert asked_to_stop(run) == "stale"
    assert sweeper.watch_attempts() == 0


def test_a_step_is_a_sign_of_life(world, working):
    _, run = working(601)
    Step.unscoped.create(
        workspace_id=run.workspace_id,
        run=run,
        index=1,
        kind="model",
        name="m",
        started_at=ago(20),
        finished_at=ago(10),
    )
    assert sweeper.watch_attempts() == 0


def test_a_workspace_says_how_long_silence_is_borne(world, working):
    world.prefer(stale_threshold=1_000)
    _, run = working(3)
    sweeper.watch_attempts()
    assert asked_to_stop(run) == "stale"


def test_a_silent_attempt_is_tried_again(world, working):
    task, run = working(601)
    sweeper.watch_attempts()
    Run.unscoped.filter(pk=run.pk).update(lease_until=ago(1))
    sweep_leases()  # its worker is gone for good: the sweep ends it
    task.refresh_from_db()
    assert (task.status, task.retries) == ("pending", 1)
    assert "stale" in task.result["stderr"]


def test_an_attempt_over_its_time_is_stopped_and_says_so(world, working):
    task, run = working(100, max_duration=60_000)
    assert sweeper.watch_attempts() == 1
    assert asked_to_stop(run) == "timeout"
    Run.unscoped.filter(pk=run.pk).update(lease_until=ago(1))
    sweep_leases()
    told = world.told("task.timed_out")[0]
    assert (told["timeout"], told["elapsed"] >= 100_000) == (60_000, True)
    task.refresh_from_db()
    assert (task.status, task.retries) == ("pending", 1)


def test_an_attempt_in_its_time_is_left_alone(world, working):
    working(65, max_duration=60_000)  # the engine ends it by itself
    assert sweeper.watch_attempts() == 0


def test_a_task_that_should_be_ready_becomes_ready(world):
    task = world.task()
    Task.unscoped.filter(pk=task.pk).update(ready=False)
    assert sweeper.mend_readiness() == 1
    task.refresh_from_db()
    assert task.ready


def test_a_task_that_waits_for_another_is_not_mended(world):
    first = world.task(title="a")
    world.task(title="b", depends_on=[first.pk])
    held = world.task(title="c")
    Task.unscoped.filter(pk=held.pk).update(ready=False, held_by=["gate"])
    assert sweeper.mend_readiness() == 0


def test_a_task_whose_run_is_gone_is_begun_again_and_no_retry_burned(world):
    task, _ = world.started()
    Task.unscoped.filter(pk=task.pk).update(run_id=uuid7())
    jobs.mend()
    task.refresh_from_db()
    assert (task.status, task.retries) == ("pending", 0)
    assert world.told("task.recovered") == [
        {"task_id": str(task.pk), "title": "Write it", "previous_status": "in_progress"}
    ]


def test_a_task_at_work_is_not_recovered(world):
    world.started()
    assert sweeper.recover_lost() == 0


def test_a_deadline_is_news_when_it_nears_and_when_it_is_missed(world):
    soon = timezone.now() + timedelta(seconds=10)
    task = world.task(draft=True, deadline=soon, created_at=ago(90))
    assert (sweeper.watch_deadlines(), sweeper.watch_deadlines()) == (1, 0)
    assert world.told("sla.neared")[0]["percent_used"] == pytest.approx(0.9, abs=0.01)
    Task.unscoped.filter(pk=task.pk).update(deadline=ago(5))
    assert (sweeper.watch_deadlines(), sweeper.watch_deadlines()) == (1, 0)
    assert world.told("sla.missed")[0]["overdue_ms"] >= 5_000


def test_a_far_deadline_is_no_news(world):
    world.task(draft=True, deadline=timezone.now() + timedelta(hours=1))
    assert sweeper.watch_deadlines() == 0


def test_one_task_that_cannot_be_helped_does_not_stop_the_sweep(world, working, monkeypatch):
    working(400, title="a")
    working(400, title="b")
    real, seen = sweeper.warn_of_silence, []

    def broken_once(*args, **said):
        seen.append(args)
        if len(seen) == 1:
            raise RuntimeError
        return real(*args, **said)

    monkeypatch.setattr(sweeper, "warn_of_silence", broken_once)
    assert sweeper.watch_attempts() == 1
