"""A worker is lost: the attempt goes on after its last step, nothing is done twice, no retry burned."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.aio import spawn
from apps.runs import runner
from apps.runs.models import Run, Step
from apps.runs.services import sweep_leases
from tests.support.stack import wait_until
from tests.tasks.conftest import calls, says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lost(world, register):
    """A task whose worker died in its second tool: what the tools did, and the run."""
    done, stuck = [], threading.Event()

    async def first(context, arguments):
        done.append("first")
        return "1"

    async def second(context, arguments):
        done.append("second")
        if not stuck.is_set():
            stuck.set()
            await asyncio.sleep(60)
        return "2"

    register("first", first)
    register("second", second, timeout=120)
    world.script(calls("first"), calls("second"), says("Both."))
    task, run = world.started()
    world.advance(run)
    assert stuck.wait(10)
    die(run)
    return task, run, done


def die(run):
    """The process forgets the run without a word, as one that is killed does."""
    live = runner._live.pop(run.pk)
    spawn(cancelled(live.task)).result(5)
    Run.unscoped.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


async def cancelled(task):
    task.cancel()


def test_a_lost_attempt_goes_on_after_its_last_step(world, lost):
    task, run, done = lost
    assert sweep_leases() == 1
    task.refresh_from_db()
    assert task.status == "in_progress"
    world.go()
    task.refresh_from_db()
    assert (task.status, task.retries, task.attempts) == ("done", 0, 1)
    assert task.result["stdout"] == "Both."
    assert done == ["first", "second", "second"]  # what was journaled was not made again
    names = Step.unscoped.filter(run=run).order_by("index").values_list("name", "kind")
    assert [name for name, kind in names if kind == "tool"] == ["first", "second"]
    assert world.told("task.recovered")[0]["previous_status"] == "in_progress"
    assert [fact["attempt"] for fact in world.told("run.started")] == [1, 2]


def test_an_attempt_that_kills_its_workers_is_tried_again_and_then_given_up(world, lost):
    task, run, _ = lost
    Run.unscoped.filter(pk=run.pk).update(lost_leases=2)
    sweep_leases()
    task.refresh_from_db()
    assert (task.status, task.retries) == ("pending", 1)
    assert "worker was lost three times" in task.result["stderr"]


def test_a_stopping_process_hands_its_attempts_on_within_two_seconds(world, register):
    hangs = threading.Event()

    async def sleep(context, arguments):
        hangs.set()
        await asyncio.sleep(60)

    register("sleep", sleep, timeout=120)
    world.script(calls("sleep"), says("Done."))
    _, run = world.started()
    world.advance(run)
    assert hangs.wait(10)
    began = timezone.now()
    assert spawn(runner.drain(8.0)).result(10) == 1
    assert timezone.now() - began < timedelta(seconds=2)
    run.refresh_from_db()
    assert (run.status, run.lost_leases) == ("queued", 0)
    wait_until(lambda: not runner.live_count())
