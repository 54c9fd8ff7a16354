"""The pages of tasks, missions, barriers and schedules, and what may be done there."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry, User
from apps.core.ids import uuid7, wire_id
from apps.events.models import Event
from apps.missions.models import Barrier, Mission
from apps.missions.services import create_mission, execute_mission
from apps.runs.models import Run, Step
from apps.tasks.models import Schedule, Task
from apps.tasks.services import create_task

WHY = "The customer asked for it"
CHECK = {
    "type": "llm_review",
    "passed": True,
    "message": "Deep enough",
    "scores": [{"dimension": "depth", "score": 4, "reasoning": "Two metres", "weight": 1}],
    "globalScore": 4,
    "reviewers": [
        {
            "index": 1,
            "scores": [{"dimension": "depth", "score": 4.5, "reasoning": "Measured"}],
            "summary": "A fine hole",
            "globalScore": 4.5,
            "exploration": {"filesRead": ["hole.md"]},
        }
    ],
}


def act(console, model, name, row, reason=WHY):
    url = reverse(f"admin:{model}_{name}", args=[row.pk])
    return console.post(url, {"reason": reason}, follow=True)


def page_of(console, model, row):
    return console.get(reverse(f"admin:{model}_change", args=[row.pk])).text


def audited(row, action):
    return AuditEntry.objects.filter(subject_id=str(row.pk), action=action, reason=WHY).exists()


def entry(title, *needs):
    told = {"title": title, "description": "-", "assignTo": "Scout"}
    return told | ({"dependsOn": list(needs)} if needs else {})


@pytest.fixture
def mission(world, aurora, recording_queue):
    """Dig, look, then fill: not executed yet."""
    look = {"name": "look", "afterTasks": ["Dig"], "blocksTasks": ["Fill"], "message": "Look!"}
    document = {"tasks": [entry("Dig"), entry("Fill", "Dig")], "checkpoints": [look]}
    return create_mission(aurora.ada, data=document, name="Hole")


# --- Tasks -----------------------------------------------------------------------------------------
def with_journal(world, task, **fields):
    """A run of this task that wrote a file; its journal has a model's reply and a tool's result."""
    run = world.run(kind="task", subject_type="task", subject_id=task.pk, steps=2, **fields)
    now = timezone.now()
    own = {"workspace": world.workspace, "run": run, "started_at": now, "finished_at": now}
    Step.unscoped.create(**own, index=1, kind="model", name="m", output={"text": "I shall <dig>"})
    Step.unscoped.create(
        **own,
        index=2,
        kind="tool",
        name="write",
        input={"path": "hole.md", "api_key": "hunter2"},
        output={"content": "Wrote 3 bytes"},
    )
    return run


def test_a_tasks_page_tells_what_was_done_and_how_it_was_judged(console, world):
    task = world.task(result={"exitCode": 0, "stdout": "It is dug.", "duration": 1500})
    run = with_journal(world, task)
    world.assessment(task, global_score=4.25, checks=[CHECK], scores=CHECK["scores"])
    page = page_of(console, "tasks_task", task)
    told = ("I shall &lt;dig&gt;", "Wrote 3 bytes", "hole.md", "It is dug.", "1.5 s", "4.25 of 5")
    for words in (*told, "Deep enough", "Two metres", "A fine hole", "Measured"):
        assert words in page, words
    assert reverse("admin:runs_run_change", args=[run.pk]) in page


def test_secrets_among_the_arguments_of_a_call_are_hidden(console, world):
    task = world.task()
    with_journal(world, task)
    page = page_of(console, "tasks_task", task)
    assert "api_key" in page
    assert "hunter2" not in page


def test_a_tasks_page_is_bounded_however_often_it_was_tried(
    console, world, django_assert_max_num_queries
):
    task = world.task(depends_on=[world.task().pk])
    for _ in range(25):
        with_journal(world, task)
    long = with_journal(world, task, status="failed")
    Run.unscoped.filter(pk=long.pk).update(steps=500)
    url = reverse("admin:tasks_task_live", args=[task.pk])
    console.get(url)
    with django_assert_max_num_queries(12):
        page = console.get(url).text
    assert page.count('class="console-panel attempt"') == 20
    assert page.count("I shall") == 3, "the newest four, of the long one nothing but the newest"
    assert "500 earlier steps" in page


def test_the_runs_of_a_task_are_found_by_an_index(db):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        rows = Run.objects.in_workspace(uuid7()).filter(session_id__isnull=True, subject_id=uuid7())
        plan = rows.order_by("-created_at")[:20].explain()
    assert "run_of_subject" in plan


@pytest.mark.parametrize(
    ("status", "action", "after"),
    [
        ("failed", "retry", "pending"),
        ("in_progress", "kill", "failed"),
        ("pending", "force_fail", "failed"),
        ("draft", "queue", "pending"),
    ],
)
def test_an_operator_changes_a_tasks_course(console, world, recording_queue, status, action, after):
    task = world.task(status=status)
    url = reverse(f"admin:tasks_task_{action}", args=[task.pk])
    assert url in page_of(console, "tasks_task", task)
    act(console, "tasks_task", action, task)
    task.refresh_from_db()
    assert task.status == after
    assert AuditEntry.objects.filter(subject_id=str(task.pk), reason=WHY).exists()
    assert Event.objects.filter(name="task.moved", payload__task_id=str(task.pk)).exists()


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("draft", {"queue", "kill", "force_fail"}),
        ("pending", {"kill", "force_fail"}),
        ("done", {"reassess"}),
        ("failed", {"retry", "reassess"}),
    ],
)
def test_only_what_makes_sense_is_offered(console, world, status, offered):
    task = world.task(status=status, expectations=[{"type": "test", "command": "true"}])
    page = page_of(console, "tasks_task", task)
    names = ("retry", "reassess", "kill", "force_fail", "queue")
    urls = {name: reverse(f"admin:tasks_task_{name}", args=[task.pk]) for name in names}
    assert {name for name, url in urls.items() if f'"{url}"' in page} == offered


def test_a_task_is_judged_again(console, world, recording_queue):
    task = world.task(status="failed", expectations=[{"type": "test", "command": "true"}])
    act(console, "tasks_task", "reassess", task)
    assert Run.unscoped.filter(kind="review", subject_id=task.pk).exists()
    assert audited(task, "task.reassessed")


def test_a_task_without_expectations_cannot_be_judged_again(console, world, recording_queue):
    task = world.task(status="failed")
    page = act(console, "tasks_task", "reassess", task).text
    assert "no expectations" in page
    assert not Run.unscoped.filter(kind="review").exists()


@pytest.mark.parametrize("query", ["q", "mission_id__exact", "group"])
def test_a_missions_tasks_are_found_in_the_list(console, world, mission, aurora, query):
    execute_mission(aurora.ada, mission.pk)
    world.task(title="Unrelated")
    term = {"q": str(mission.pk), "mission_id__exact": str(mission.pk), "group": "Hole"}[query]
    page = console.get(reverse("admin:tasks_task_changelist"), {query: term}).text
    assert "Dig" in page
    assert "Unrelated" not in page


def test_the_palette_finds_a_task_and_a_mission(console, world, mission):
    task = world.task(title="A very deep hole")
    for term, words in ((wire_id("task", task.pk), "A very deep hole"), ("Hole", "Hole")):
        page = console.get(reverse("admin:search"), {"s": term, "extended": "1"}).text
        assert words in page, term


# --- Missions --------------------------------------------------------------------------------------
def test_a_mission_is_shown_as_a_plan_before_it_is_executed(console, mission):
    page = page_of(console, "missions_mission", mission)
    assert page.count('data-state="planned"') >= 3
    assert "this is the plan" in page


def test_a_missions_page_shows_its_graph_with_the_states_of_its_tasks(console, mission, aurora):
    tasks, _ = execute_mission(aurora.ada, mission.pk)
    Task.unscoped.filter(pk=tasks[0].pk).update(status="done")
    page = page_of(console, "missions_mission", mission)
    assert f'data-task="{tasks[0].pk}" data-state="done"' in page
    assert f'data-task="{tasks[1].pk}" data-state="pending"' in page
    assert 'data-kind="checkpoint" data-state="waiting"' in page
    assert reverse("admin:tasks_task_change", args=[tasks[0].pk]) in page


def test_a_mission_of_a_thousand_tasks_still_renders(console, world, django_assert_max_num_queries):
    mission = world.mission(group="Hole", status="active")
    Task.unscoped.bulk_create(
        Task(workspace=world.workspace, title=f"Dig {n}", group="Hole", mission_id=mission.pk)
        for n in range(1_000)
    )
    url = reverse("admin:missions_mission_live", args=[mission.pk])
    console.get(url)
    with django_assert_max_num_queries(8):
        page = console.get(url)
    assert len(page.content) < 60_000
    assert "1000 pending" in page.text


def test_a_mission_is_executed_and_aborted(console, mission):
    act(console, "missions_mission", "execute", mission)
    assert Task.unscoped.filter(mission_id=mission.pk).count() == 2
    assert audited(mission, "mission.executed")
    act(console, "missions_mission", "abort", mission)
    mission.refresh_from_db()
    assert mission.status == "cancelled"
    assert not Task.unscoped.filter(mission_id=mission.pk).exclude(status="failed").exists()
    assert audited(mission, "mission.aborted")


def test_a_mission_is_resumed_with_and_without_its_failed_tasks(console, mission, aurora):
    tasks, _ = execute_mission(aurora.ada, mission.pk)
    Mission.unscoped.filter(pk=mission.pk).update(status="failed")
    Task.unscoped.filter(pk=tasks[0].pk).update(status="failed")
    act(console, "missions_mission", "resume", mission)
    assert Task.unscoped.get(pk=tasks[0].pk).status == "failed"
    act(console, "missions_mission", "retry_failed", mission)
    assert Task.unscoped.get(pk=tasks[0].pk).status == "pending"
    assert audited(mission, "mission.resumed")


def test_a_deleted_mission_leads_back_to_the_list(console, mission):
    answer = act(console, "missions_mission", "remove", mission)
    assert answer.redirect_chain[-1][0] == reverse("admin:missions_mission_changelist")
    assert not Mission.unscoped.filter(pk=mission.pk).exists()
    assert audited(mission, "mission.deleted")


@pytest.fixture
def checkpoint(mission, aurora):
    """The mission waits at it."""
    execute_mission(aurora.ada, mission.pk)
    Mission.unscoped.filter(pk=mission.pk).update(status="paused")
    Barrier.unscoped.filter(mission=mission).update(state="reached", since=timezone.now())
    return Barrier.unscoped.get(mission=mission)


def test_a_checkpoint_is_approved_from_the_missions_page(console, operator, mission, checkpoint):
    url = reverse("admin:missions_barrier_approve", args=[checkpoint.pk])
    page = page_of(console, "missions_mission", mission)
    assert url in page
    assert "Look!" in page
    answer = act(console, "missions_barrier", "approve", checkpoint)
    there = reverse("admin:missions_mission_change", args=[mission.pk])
    assert answer.redirect_chain[-1][0] == there
    assert url not in answer.text
    checkpoint.refresh_from_db()
    assert (checkpoint.state, checkpoint.user_id) == ("resumed", operator.pk)
    assert audited(mission, "checkpoint.resumed")


def test_who_may_only_look_approves_nothing(client, mission, checkpoint):
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    watcher.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_mission", "view_barrier", "view_task"])
    )
    client.force_login(watcher)
    url = reverse("admin:missions_barrier_approve", args=[checkpoint.pk])
    page = page_of(client, "missions_mission", mission)
    assert "Look!" in page
    assert url not in page
    assert client.post(url, {"reason": WHY}).status_code == 403
    checkpoint.refresh_from_db()
    assert checkpoint.state == "reached"


def test_a_gate_cannot_be_approved(console, world):
    gate = world.barrier(world.mission(group="Hole", status="active"), kind="gate", state="failed")
    act(console, "missions_barrier", "approve", gate)
    gate.refresh_from_db()
    assert gate.state == "failed"


def test_a_missions_report_is_shown_task_by_task(console, world):
    told = {
        "title": "Dig",
        "status": "done",
        "duration": 900,
        "score": 4.5,
        "filesCreated": ["a.md"],
    }
    report = {"allPassed": True, "avgScore": 4.5, "tasks": [told], "filesCreated": ["a.md"]}
    page = page_of(console, "missions_mission", world.mission(status="completed", report=report))
    for words in ("Mean score 4.50", "a.md", "900 ms"):
        assert words in page


# --- Schedules -------------------------------------------------------------------------------------
def test_a_schedule_is_switched_off_and_on_again(console, world):
    schedule = world.schedule(world.mission())
    act(console, "tasks_schedule", "disable", schedule)
    schedule.refresh_from_db()
    assert not schedule.enabled
    act(console, "tasks_schedule", "enable", schedule)
    schedule.refresh_from_db()
    assert schedule.enabled
    assert schedule.next_run_at > timezone.now(), "what was missed meanwhile is not made up for"
    assert audited(schedule, "schedule.switched")
    assert Event.objects.filter(name="schedule.switched").count() == 2


def test_a_moment_that_has_passed_cannot_be_switched_on(console, world):
    schedule = world.schedule(
        world.mission(), expression="2020-01-01T00:00:00Z", recurring=False, enabled=False
    )
    page = act(console, "tasks_schedule", "enable", schedule).text
    assert "has passed" in page
    assert not Schedule.unscoped.get(pk=schedule.pk).enabled


def test_lists_ask_as_much_for_fifty_rows_as_for_one(
    console, world, django_assert_num_queries, django_assert_max_num_queries
):
    for name in ("tasks_task", "tasks_assessment", "missions_mission", "missions_barrier"):
        _add(world, 1)
        url = reverse(f"admin:{name}_changelist")
        console.get(url)
        with django_assert_max_num_queries(12) as few:
            console.get(url)
        _add(world, 20)
        with django_assert_num_queries(len(few.captured_queries)):
            console.get(url)


def _add(world, count):
    for _ in range(count):
        world.assessment(world.task())
        world.barrier(world.mission(group=str(uuid7())))


def test_a_task_made_by_a_service_is_on_its_page_as_it_was_made(
    console, world, aurora, recording_queue
):
    task = create_task(aurora.ada, title="Dig", description="Deep & wide", assign_to="Scout")
    assert "Deep &amp; wide" in page_of(console, "tasks_task", task)
