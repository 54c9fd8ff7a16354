"""Tasks under contention: no cap passed, one end, nobody forgotten, no deadlock."""

from __future__ import annotations

import threading

import pytest
from django.db import transaction

from apps.approvals.errors import AlreadyDecided
from apps.approvals.models import Approval
from apps.approvals.services import decide, request
from apps.core.rows import execute
from apps.engine.ports import Ending, LeaseLost, Outcome
from apps.runs.journal import RunJournal
from apps.runs.models import Run
from apps.runs.services import claim_run
from apps.tasks.errors import TaskStateForbids
from apps.tasks.models import Task
from apps.tasks.services import dispatch_tasks, dispatching, force, kill_task, lock_task, moving
from tests.support.race import race_each
from tests.tasks.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


@pytest.fixture
def world(aurora, recording_queue):
    return World(aurora, recording_queue)


# --- Two dispatchers ------------------------------------------------------------------------------
def at_work(world):
    return Task.unscoped.filter(workspace_id=world.aurora.id, status="in_progress").count()


def test_however_many_dispatch_no_cap_is_passed_and_nothing_starts_twice(world, race):
    world.prefer(max_concurrency=5)
    for number in range(12):
        world.task(title=f"task {number}")
    outcome = race(dispatch_tasks, world.engine, runners=8)
    assert outcome.errors == []
    assert sum(outcome.results) == at_work(world) == 5
    assert Run.unscoped.count() == 5


def test_the_race_of_dispatchers_is_real(world, race, monkeypatch):
    """Control: without the workspace's lock two count before either has started anything."""
    world.prefer(max_concurrency=1)
    for number in range(2):
        world.task(title=f"task {number}", priority=number)
    meeting, pick = threading.Barrier(2, timeout=10), dispatching._pick

    def picking_together(*args):
        found = pick(*args)
        meeting.wait()
        return found

    monkeypatch.setattr(dispatching, "_SERIALISE", "SELECT %s")
    monkeypatch.setattr(dispatching, "_pick", picking_together)
    race(dispatching._dispatch_batch, world.engine, runners=2)
    assert at_work(world) == 2


# --- Kill against finish --------------------------------------------------------------------------
def held(world, title):
    """A claimed attempt: (task, its run's journal)."""
    task, run = world.started(title=title)
    hold, _, _ = claim_run(run.workspace_id, run.pk)
    return task, RunJournal(world.engine, hold)


def finished(journal):
    try:
        journal._close(Outcome(Ending.DONE, text="Done.", last="Done."))
    except LeaseLost:
        return "lost"
    return "finished"


def killed(world, task):
    return "killed" if kill_task(world.aurora.ada, task.pk).status == "failed" else "late"


def test_a_kill_and_an_end_that_meet_leave_one_verdict(world):
    seen = set()
    for number in range(ROUNDS):
        task, journal = held(world, f"task {number}")
        outcome = race_each([(finished, (journal,), {}), (killed, (world, task), {})])
        assert outcome.errors == []
        task.refresh_from_db()
        verdict = "failed" if "killed" in outcome.results else "done"
        assert task.status == verdict
        assert Run.unscoped.get(pk=task.run_id).status in {"succeeded", "cancelled"}
        seen.add(verdict)
    ends = [move for move in world.moves() if move[1] in {"done", "failed"}]
    assert len(ends) == ROUNDS
    assert seen <= {"done", "failed"}


def end_without_lock(task_id, status, meeting):
    task = Task.unscoped.get(pk=task_id)
    if task.status != "in_progress":
        raise TaskStateForbids
    meeting.wait()
    task.status = status
    task.save(update_fields=["status"])


def test_the_race_for_the_end_is_real(world):
    """Control: read-then-save lets a task end twice."""
    task, _ = world.started()
    meeting = threading.Barrier(2, timeout=10)
    ends = [(end_without_lock, (task.pk, status, meeting), {}) for status in ("done", "failed")]
    assert race_each(ends).winners == 2


# --- Two dependencies that end at once ------------------------------------------------------------
def end_dependency(world, task_id):
    with transaction.atomic():
        task = lock_task(world.engine, task_id)
        force(world.engine, task, "done")


def waiting_for_two(world, number):
    first = world.task(title=f"a {number}", draft=True)
    second = world.task(title=f"b {number}", draft=True)
    last = world.task(title=f"c {number}", depends_on=[first.pk, second.pk])
    return first, second, last


def test_who_waits_for_two_that_end_at_once_is_not_forgotten(world):
    for number in range(ROUNDS):
        first, second, last = waiting_for_two(world, number)
        outcome = race_each([(end_dependency, (world, task.pk), {}) for task in (first, second)])
        assert outcome.errors == []
        last.refresh_from_db()
        assert last.ready


def end_without_looking_under_lock(world, task_id, last_id, meeting):
    with transaction.atomic():
        Task.unscoped.filter(pk=task_id).update(status="done")
        meeting.wait()
        execute(moving._READY, [world.aurora.id, [last_id], world.aurora.id])
        meeting.wait()


def test_the_race_of_dependencies_is_real(world):
    """Control: each sees the other unfinished, and nobody starts what waits for both."""
    first, second, last = waiting_for_two(world, 0)
    meeting = threading.Barrier(2, timeout=10)
    ends = [
        (end_without_looking_under_lock, (world, task.pk, last.pk, meeting), {})
        for task in (first, second)
    ]
    assert race_each(ends).errors == []
    last.refresh_from_db()
    assert not last.ready


# --- A decision meets a kill ----------------------------------------------------------------------
def waiting(world, number):
    """An attempt that waits for a permission: (task, request)."""
    task, journal = held(world, f"task {number}")
    asked = request(world.engine, action="Pay", subject_type="run", subject_id=journal.hold.run_id)
    journal._close(Outcome(Ending.WAITING, approval_id=str(asked.pk)))
    return task, asked


def decided(world, asked):
    try:
        decide(world.aurora.ada, asked.pk, decision="approve")
    except AlreadyDecided:
        return "late"
    return "decided"


def test_a_decision_and_a_kill_that_meet_never_deadlock(world):
    for number in range(ROUNDS):
        task, asked = waiting(world, number)
        outcome = race_each([(decided, (world, asked), {}), (killed, (world, task), {})])
        assert outcome.errors == []
        task.refresh_from_db()
        assert task.status == "failed"
        assert Run.unscoped.get(pk=task.run_id).status == "cancelled"
        assert Approval.unscoped.get(pk=asked.pk).status in {"withdrawn", "approved"}
