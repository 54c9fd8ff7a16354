"""Which ready task starts next, and how many at once (contract/polpo.md §5.4)."""

from __future__ import annotations

from threading import Event

import pytest
from django.db import connection, transaction

from apps.core.actor import Actor, Scope
from apps.core.errors import ScopeInsufficient
from apps.formations.services import create_agent, delete_agent, update_agent
from apps.runs.models import Run
from apps.tasks.jobs import dispatch
from apps.tasks.models import Task
from apps.tasks.services import (
    dispatch_tasks,
    dispatching,
    hold_tasks,
    lock_task,
    release_tasks,
)
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


def at_work(world):
    rows = Task.unscoped.filter(workspace_id=world.aurora.id, status="in_progress")
    return list(rows.order_by("started_at").values_list("title", flat=True))


def test_the_highest_priority_starts_first_and_the_oldest_of_equals(world):
    world.prefer(max_concurrency=2)
    for title, priority in (("a", 1), ("b", 5), ("c", 5), ("d", 0.5)):
        world.task(title=title, priority=priority)
    assert dispatch_tasks(world.engine) == 2
    assert at_work(world) == ["b", "c"]


def test_a_workspace_has_no_more_at_work_than_it_says(world):
    world.prefer(max_concurrency=2)
    for number in range(5):
        world.task(title=f"task {number}")
    assert dispatch_tasks(world.engine) == 2
    assert dispatch_tasks(world.engine) == 0
    world.go()
    assert Task.unscoped.filter(status="done").count() == 5


def test_without_a_cap_of_its_own_a_workspace_has_the_workers(world, settings):
    settings.MAX_CONCURRENT_RUNS = 3
    for number in range(5):
        world.task(title=f"task {number}")
    assert dispatch_tasks(world.engine) == 3


def test_an_agent_at_its_cap_lets_others_pass(world):
    create_agent(world.aurora.ada, name="Editor", model=world.agent.model)
    update_agent(world.aurora.ada, world.agent.pk, max_concurrency=1)
    for title, agent in (("a", "writer"), ("b", "writer"), ("c", "editor"), ("d", "Writer")):
        world.task(title=title, assign_to=agent)
    assert dispatch_tasks(world.engine) == 2
    assert at_work(world) == ["a", "c"]


def test_a_held_task_waits_until_it_is_released(world):
    task = world.task()
    with transaction.atomic():
        hold_tasks(world.engine, [task.pk], "checkpoint")
    assert dispatch_tasks(world.engine) == 0
    with transaction.atomic():
        release_tasks(world.engine, [task.pk], "checkpoint")
    assert dispatch_tasks(world.engine) == 1


def test_a_task_waits_for_all_it_depends_on(world):
    first, second = world.task(title="a"), world.task(title="b")
    last = world.task(title="c", depends_on=[first.pk, second.pk])
    assert dispatch_tasks(world.engine) == 2
    last.refresh_from_db()
    assert (last.status, last.ready) == ("pending", False)
    world.run_queued()
    last.refresh_from_db()
    assert last.ready
    world.go()
    last.refresh_from_db()
    assert last.status == "done"


def test_an_agent_that_is_not_there_fails_the_task_at_once(world):
    task = world.task()
    delete_agent(world.aurora.ada, world.agent.pk)
    assert dispatch_tasks(world.engine) == 1
    task.refresh_from_db()
    assert (task.status, task.retries, task.run_id) == ("failed", 0, None)
    assert task.result["stderr"] == "There is no agent called 'writer' in this workspace."
    assert not Run.unscoped.exists()


def test_a_run_is_of_whoever_asked_for_the_task(world):
    task, run = world.started()
    assert (run.user_id, run.token_id) == (world.aurora.ada_user.pk, world.aurora.ada_token_id)
    assert (run.subject_type, run.subject_id, run.agent_id) == ("task", task.pk, world.agent.pk)
    assert run.limits == {"steps": 100, "seconds": 1800.0}


def test_an_escalated_task_brings_its_model(world):
    task, run = world.started(model="scripted/echo")
    assert run.input["model"] == "scripted/echo"
    world.go()
    task.refresh_from_db()
    assert task.result["stdout"].endswith("</rules>")  # the echo said the prompt


def test_a_task_of_another_workspace_is_left_alone(world, borealis):
    world.task()
    assert dispatch_tasks(Actor.for_engine(borealis.id)) == 0


def test_only_who_may_write_starts_anything(world):
    with pytest.raises(ScopeInsufficient):
        dispatch_tasks(world.engine.with_scope(Scope.READ))


def test_starting_a_task_costs_few_queries(world, count_queries):
    dispatch_tasks(world.engine)
    world.task()
    # transaction, lock, workspace, at work, agents of those, picked ids, tasks, agents, two moves, run,
    # facts; then another round that finds nothing.
    with count_queries(24, at_most=True):
        assert dispatch_tasks(world.engine) == 1


READY = """INSERT INTO tasks_task (id, workspace_id, title, description, original_description, assign_to,
    "group", depends_on, status, phase, held_by, ready, priority, expectations, metrics,
    expected_outcomes, outcomes, side_effects, retries, max_retries, fix_attempts, question_rounds,
    resolution_attempts, revision_count, sla, attempts, model, created_at, updated_at)
SELECT gen_random_uuid(), %s, 'Task ' || n, '', '', %s, '', '{}', 'pending', '', '{}', true, 1, '[]',
    '[]', '[]', '[]', false, 0, 3, 0, 0, 0, 0, '', 0, '', now() + n * interval '1 ms', now()
FROM generate_series(1, %s) n"""


def many_ready(world, count, agent="writer"):
    with connection.cursor() as cursor:
        cursor.execute(READY, [world.aurora.id, agent, count])
        cursor.execute("ANALYZE tasks_task")


def test_the_next_of_ten_thousand_is_found_by_the_index(world):
    many_ready(world, 10_000)
    values = [world.aurora.id, [], 21, world.aurora.id, 1]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + dispatching._NEXT, values)
        plan = str(cursor.fetchone()[0])
    assert "task_queue" in plan
    assert "Seq Scan" not in plan
    assert "'Actual Rows': 10000" not in plan


def test_the_next_task_behind_ten_thousand_of_a_busy_agent_is_found(world):
    create_agent(world.aurora.ada, name="busy", model=world.agent.model)
    many_ready(world, 10_000, agent="busy")
    world.task(title="mine", priority=0.5)
    with transaction.atomic():
        found = dispatching._pick(world.engine, ["busy"], 1)
    assert [task.title for task in found] == ["mine"]


def test_a_task_that_is_being_edited_does_not_hold_up_the_others(world, aurora):
    world.prefer(max_concurrency=1)
    first, second = world.task(title="a", priority=9), world.task(title="b")
    locked, done = Event(), Event()

    def edit():
        with transaction.atomic():
            lock_task(aurora.ada, first.pk)
            locked.set()
            assert done.wait(10)

    def start():
        assert locked.wait(10)
        try:
            return dispatch_tasks(world.engine)
        finally:
            done.set()

    outcome = race_each([(edit, (), {}), (start, (), {})])
    assert outcome.raised == []
    second.refresh_from_db()
    first.refresh_from_db()
    assert (first.status, second.status) == ("pending", "in_progress")


def test_the_door_of_the_job_takes_arguments_of_later_versions(world):
    task = world.task()
    dispatch(workspace_id=str(world.aurora.id), further="argument")
    task.refresh_from_db()
    assert task.status == "in_progress"
