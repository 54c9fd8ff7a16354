"""What a process takes on: no more than it may, kept from the first moment, never lost at its end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import OperationalError

from apps.core.aio import spawn
from apps.core.errors import InvalidInput
from apps.runs import kinds, runner, services
from apps.runs.models import Run
from apps.runs.services import open_run
from tests.runs.test_journal import Probe
from tests.support.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Slow(Probe):
    """A kind that plans until it is let go, and then fails as it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.planning, self.go = threading.Event(), asyncio.Event()
        self.error: Exception = InvalidInput("enough")

    async def plan(self, hold, run_input):
        self.planning.set()
        await self.go.wait()
        raise self.error


@pytest.fixture
def slow(monkeypatch):
    handler = Slow()
    monkeypatch.setitem(kinds._handlers, "probe", handler)
    return handler


@pytest.fixture
def queued(aurora, recording_queue, slow):
    return lambda: open_run(aurora.ada, kind="probe")


def advance(run):
    return spawn(runner.advance(run.workspace_id, run.pk))


def status(run):
    run.refresh_from_db()
    return run.status


async def let_go(handler):
    handler.go.set()


def test_a_full_process_leaves_runs_in_the_queue(queued, slow, settings):
    settings.MAX_CONCURRENT_RUNS = 1
    one, two = queued(), queued()
    jobs = [advance(one), advance(two)]
    assert slow.planning.wait(5)
    wait_until(lambda: jobs[1].done() or jobs[0].done())
    assert sorted([status(one), status(two)]) == ["queued", "running"]
    spawn(let_go(slow)).result(5)
    [job.result(5) for job in jobs]
    assert sorted([status(one), status(two)]) == ["failed", "queued"]


def test_a_run_is_kept_while_it_is_planned(queued, slow, settings):
    settings.LEASE_SECONDS = 1
    run = queued()
    job = advance(run)
    assert slow.planning.wait(5)
    first = Run.unscoped.get(pk=run.pk).lease_until
    wait_until(lambda: Run.unscoped.get(pk=run.pk).lease_until > first, 3)
    spawn(let_go(slow)).result(5)
    job.result(5)


def test_a_database_that_is_away_ends_no_run(queued, slow):
    slow.error = OperationalError("server closed the connection unexpectedly")
    run = queued()
    spawn(let_go(slow)).result(5)
    advance(run).result(5)
    assert status(run) == "running"
    assert runner.live_count() == 0


def test_a_drain_waits_for_a_claim_under_way(queued, slow, monkeypatch):
    claiming, claimed, claim = threading.Event(), threading.Event(), services.claim_run

    def claim_slowly(*ids):
        claiming.set()
        assert claimed.wait(5)
        return claim(*ids)

    monkeypatch.setattr(services, "claim_run", claim_slowly)
    run = queued()
    job = advance(run)
    assert claiming.wait(5)
    drained = spawn(runner.drain(1.0))
    claimed.set()
    assert drained.result(5) == 1
    assert status(run) == "queued"
    with pytest.raises(BaseException):  # noqa: B017  (it was cancelled)
        job.result(5)
