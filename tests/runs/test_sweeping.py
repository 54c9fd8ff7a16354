"""Runs whose holder is gone: handed on, or ended in words; and nudges that were lost."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.errors import ScopeInsufficient
from apps.engine.ports import Spend, StepRecord
from apps.runs import holding, jobs, kinds
from apps.runs.errors import RunFinishedAlready, RunNotFound
from apps.runs.journal import RunJournal
from apps.runs.models import Run
from apps.runs.services import (
    ADVANCE,
    cancel_run,
    claim_run,
    hand_back,
    keep_leases,
    left_queued,
    open_run,
    sweep_leases,
)
from tests.runs.test_journal import Probe

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    handler = Probe()
    monkeypatch.setitem(kinds._handlers, "probe", handler)
    return handler


@pytest.fixture
def claimed(aurora, recording_queue):
    run = open_run(aurora.ada, kind="probe")
    hold, _, _ = claim_run(aurora.id, run.pk)
    recording_queue.clear()
    return run, hold


def change(run, **fields):
    Run.unscoped.filter(pk=run.pk).update(**fields)


def lapse(run):
    change(run, lease_until=timezone.now() - timedelta(seconds=1))


def test_a_run_whose_lease_lapsed_goes_back_to_the_queue(claimed, recording_queue):
    run, _ = claimed
    lapse(run)
    assert sweep_leases() == 1
    run.refresh_from_db()
    assert (run.status, run.lost_leases, run.lease_owner) == ("queued", 0, "")
    assert [job for job, _ in recording_queue] == [ADVANCE]


def test_a_run_in_good_hands_is_left_alone(claimed):
    run, _ = claimed
    assert sweep_leases() == 0
    run.refresh_from_db()
    assert run.status == "running"


def test_a_dead_process_of_this_host_is_noticed_before_its_lease_lapses(claimed):
    run, _ = claimed
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    change(run, lease_owner=f"{holding.NODE}:{int(gone.stdout)}:abcd1234")
    assert sweep_leases() == 1


def test_a_process_of_another_host_keeps_its_lease(claimed):
    run, _ = claimed
    change(run, lease_owner=f"elsewhere:{os.getpid()}:abcd1234")
    assert sweep_leases() == 0


def test_a_run_that_kills_its_workers_is_put_aside(claimed, probe):
    run, _ = claimed
    change(run, lost_leases=2, in_step=True)
    lapse(run)
    sweep_leases()
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("failed", "worker_lost")
    assert len(probe.rests) == 1


def test_a_turn_whose_request_died_with_the_server_is_interrupted(claimed):
    run, _ = claimed
    change(run, input={"inline": True})
    lapse(run)
    sweep_leases()
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("failed", "interrupted")


def test_an_orphan_that_was_to_be_cancelled_is_cancelled(claimed, aurora):
    run, _ = claimed
    cancel_run(aurora.ada, run.pk, reason="enough")
    lapse(run)
    sweep_leases()
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_a_resumed_run_has_a_new_fencing_token(claimed, aurora):
    run, first = claimed
    lapse(run)
    sweep_leases()
    second, _, _ = claim_run(aurora.id, run.pk)
    assert second.attempt == first.attempt + 1
    assert keep_leases([first]) == {}
    assert keep_leases([second]) == {run.pk: False}


def test_keeping_a_lease_tells_of_a_cancellation(claimed, aurora):
    run, hold = claimed
    cancel_run(aurora.ada, run.pk)
    assert keep_leases([hold]) == {run.pk: True}


def test_a_graceful_stop_gives_runs_back_without_blame(claimed):
    run, hold = claimed
    assert hand_back([hold]) == 1
    run.refresh_from_db()
    assert (run.status, run.lost_leases) == ("queued", 0)


def test_a_lost_nudge_is_made_up_for(aurora, recording_queue):
    run = open_run(aurora.ada, kind="probe")
    assert left_queued() == []  # its nudge may be on its way
    assert left_queued(older_than=0) == [(aurora.id, run.pk)]
    claim_run(aurora.id, run.pk)
    assert left_queued(older_than=0) == []


def test_the_worker_that_looks_takes_what_was_left_itself(aurora, recording_queue, monkeypatch):
    run = open_run(aurora.ada, kind="probe")
    change(run, created_at=timezone.now() - timedelta(seconds=3))
    recording_queue.clear()
    taken = []
    monkeypatch.setattr(jobs, "spawn", lambda work: (taken.append(work), work.close()))
    jobs.wake_queued()
    assert len(taken) == 1
    assert recording_queue == []  # no message more for a queue that may be too long already


def test_a_queued_run_is_cancelled_at_once_and_only_once(aurora, recording_queue):
    run = open_run(aurora.ada, kind="probe")
    assert cancel_run(aurora.ada, run.pk, reason="changed my mind").status == "cancelled"
    with pytest.raises(RunFinishedAlready):
        cancel_run(aurora.ada, run.pk)


def test_a_stranger_cannot_tell_whether_a_run_exists(aurora, borealis, recording_queue):
    run = open_run(aurora.ada, kind="probe")
    with pytest.raises(RunNotFound):
        cancel_run(borealis.mallory, run.pk)


def test_a_viewer_starts_and_stops_nothing(aurora, recording_queue):
    run = open_run(aurora.ada, kind="probe")
    with pytest.raises(ScopeInsufficient):
        open_run(aurora.cleo, kind="probe")
    with pytest.raises(ScopeInsufficient):
        cancel_run(aurora.cleo, run.pk)


def test_only_losses_in_one_and_the_same_step_count(claimed):
    run, hold = claimed
    change(run, lost_leases=2)
    journal = RunJournal(Actor.for_engine(run.workspace_id), hold)
    journal._begin(Spend())
    journal._record(StepRecord(1, "model", "m", "ok"), None)
    journal._begin(Spend())
    lapse(run)
    assert sweep_leases() == 1
    run.refresh_from_db()
    assert (run.status, run.lost_leases) == ("queued", 1)


def test_who_is_lost_before_its_first_step_is_not_to_blame(claimed):
    run, _ = claimed
    change(run, lost_leases=2)
    lapse(run)
    assert sweep_leases() == 1
    run.refresh_from_db()
    assert (run.status, run.lost_leases) == ("queued", 2)
