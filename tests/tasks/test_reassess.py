"""A finished task judged again (contract/polpo.md §6.6), and other work about tasks."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from apps.core.actor import Actor
from apps.core.errors import DomainError
from apps.engine.ports import Fault
from apps.engine.providers.scripted import Line
from apps.events.services import publish
from apps.runs.errors import RunNotFound
from apps.runs.models import Run
from apps.tasks import reviewing
from apps.tasks.errors import NothingToAssess, TaskNotFound, TaskStateForbids
from apps.tasks.events import TaskUpdated
from apps.tasks.models import Assessment, Task
from apps.tasks.services import await_review, judging, lock_task, reassess_task
from apps.tasks.services.judging import is_at_work, open_work
from apps.workspaces.files import files_root
from tests.tasks.judges import answers, seat

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = [{"type": "file_exists", "paths": ["poem.txt"], "confidence": "firm"}]


@pytest.fixture
def folder(world, tmp_path, settings):
    settings.DATA_DIR = tmp_path
    world.prefer(max_fix_attempts=0)
    return files_root(world.aurora.id)


@pytest.fixture
def failed(world, folder):
    """A task that failed for want of a file."""
    task = world.task(max_retries=0, expectations=WANTED)
    world.go()
    task.refresh_from_db()
    assert task.status == "failed"
    return task


def again(world, task):
    run_id = reassess_task(world.aurora.ada, task.pk)
    world.run_queued()
    task.refresh_from_db()
    return run_id


def triggers(task):
    return list(
        Assessment.unscoped.filter(task=task).order_by("number").values_list("trigger", flat=True)
    )


def test_a_failed_task_that_passes_now_is_done(world, folder, failed):
    (folder / "poem.txt").write_text("roses")
    run_id = again(world, failed)
    assert (failed.status, triggers(failed)) == ("done", ["initial", "reassess"])
    assert await_review(world.aurora.ada, run_id)
    assert world.facts("assessment")[-1] == "assessment.completed"


def test_a_done_task_that_fails_now_has_failed(world, folder, failed):
    (folder / "poem.txt").write_text("roses")
    again(world, failed)
    (folder / "poem.txt").unlink()
    again(world, failed)
    assert failed.status == "failed"
    assert triggers(failed) == ["initial", "reassess", "reassess"]


def test_an_unchanged_verdict_changes_the_rows_version_all_the_same(world, failed):
    before = version(failed)
    again(world, failed)
    assert failed.status == "failed"
    assert version(failed) != before


def version(task):
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM tasks_task WHERE id = %s", [task.pk])
        return cursor.fetchone()[0]


def test_only_what_has_ended_and_has_a_measure_is_judged_again(world, folder, failed, borealis):
    with pytest.raises(TaskStateForbids):
        reassess_task(world.aurora.ada, world.task("Another", expectations=WANTED).pk)
    Task.unscoped.filter(pk=failed.pk).update(expectations=[])
    with pytest.raises(NothingToAssess):
        reassess_task(world.aurora.ada, failed.pk)
    with pytest.raises(TaskNotFound):
        reassess_task(borealis.mallory, failed.pk)
    with pytest.raises(DomainError):
        reassess_task(world.aurora.cleo, failed.pk)


def test_asking_twice_judges_once(world, failed):
    first = reassess_task(world.aurora.ada, failed.pk)
    assert reassess_task(world.aurora.ada, failed.pk) == first
    assert Run.unscoped.filter(kind="review", status="queued").count() == 1


def test_a_reassessment_that_crashes_leaves_the_verdict(world, failed, monkeypatch):
    monkeypatch.setattr("apps.tasks.assessing.checks.look_for", None)
    again(world, failed)
    assert (failed.status, triggers(failed)) == ("failed", ["initial"])


def test_a_task_that_was_tried_again_meanwhile_is_left_alone(world, failed):
    from apps.tasks.services import retry_task

    reassess_task(world.aurora.ada, failed.pk)
    retry_task(world.aurora.ada, failed.pk)
    world.run_queued()
    failed.refresh_from_db()
    assert (failed.status, triggers(failed)) == ("pending", ["initial"])


# --- Waiting ----------------------------------------------------------------------------------
def test_a_request_waits_only_so_long(world, failed):
    run_id = reassess_task(world.aurora.ada, failed.pk)
    assert await_review(world.aurora.ada, run_id, seconds=0.1) is False
    waiting = threading.Thread(target=lambda: answers_of.append(wait(world, run_id)))
    answers_of: list[bool] = []
    waiting.start()
    world.run_queued()
    waiting.join(5)
    assert answers_of == [True]


def wait(world, run_id):
    try:
        return await_review(world.aurora.ada, run_id, seconds=5)
    finally:
        connection.close()


def test_when_too_many_wait_nobody_else_is_kept(world, failed, monkeypatch):
    monkeypatch.setattr(judging, "_waiting", threading.BoundedSemaphore(1))
    run_id = reassess_task(world.aurora.ada, failed.pk)
    assert judging._waiting.acquire(blocking=False)
    assert await_review(world.aurora.ada, run_id, seconds=60) is False


def test_nobody_waits_for_what_is_not_theirs(world, failed, borealis):
    run_id = reassess_task(world.aurora.ada, failed.pk)
    with pytest.raises(RunNotFound):
        await_review(borealis.mallory, run_id)


# --- Other work -------------------------------------------------------------------------------
class Naming:
    """Asks for a better title."""

    def __init__(self) -> None:
        self.answers: list[object] = []

    def question(self, actor, task, told):
        return f"A better title than {task.title}?", {
            "type": "object",
            "properties": {"title": {"type": "string"}},
            "required": ["title"],
        }

    def concluded(self, actor, task, told, answer):
        self.answers.append((told, answer))
        if told.get("refuse"):
            raise TaskNotFound
        return [TaskUpdated(task_id=task.pk, changed=["title"])]


@pytest.fixture
def naming(monkeypatch):
    work = Naming()
    monkeypatch.setitem(reviewing._works, "naming", work)
    return work


def opened(world, **told):
    from django.db import transaction

    task = world.task()
    with transaction.atomic():
        facts = open_work(world.engine, lock_task(world.engine, task.pk), "naming", told)
        publish(world.engine, *facts)
    return task


def test_work_of_another_app_is_asked_and_concluded(world, naming, monkeypatch):
    seat(monkeypatch, world).on("answer", answers("answer", title="Ode"))
    task = opened(world, why="dull")
    assert is_at_work(world.engine, task.pk, "naming")
    assert open_work(world.engine, task, "naming", {}) == []
    world.run_queued()
    assert naming.answers == [({"why": "dull"}, {"title": "Ode"})]
    assert not is_at_work(world.engine, task.pk, "naming")
    assert world.facts("task").count("task.updated") == 1


def test_work_without_an_answer_is_concluded_too(world, naming, monkeypatch):
    seat(monkeypatch, world).on("answer", Line(fault=Fault.AUTH))
    opened(world)
    world.run_queued()
    assert naming.answers == [({}, None)]


def test_work_that_cannot_be_concluded_ends_all_the_same(world, naming, monkeypatch):
    seat(monkeypatch, world).on("answer", answers("answer", title="Ode"))
    opened(world, refuse=True)
    world.run_queued()
    assert Run.unscoped.get(kind="review").status == "succeeded"


def test_the_actor_of_the_engine_may_open_work(aurora):
    assert is_at_work(Actor.for_engine(aurora.id), aurora.id, "naming") is False
