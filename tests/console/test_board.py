"""The board: what stands in which column, and what it costs."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from apps.accounts.models import User
from apps.console import board, dashboard
from apps.tasks.models import Task, TaskStatus


def board_of(console, world, name="board"):
    return console.get(reverse(f"admin:{name}", args=[world.workspace.pk])).text


def column(page, status):
    return page.split(f'data-column="{status}"')[1].split("</section>")[0]


def test_a_task_stands_in_the_column_of_its_status(console, world):
    for status in TaskStatus.values:
        world.task(title=f"Task {status}.", status=status)
    page = board_of(console, world)
    for status in TaskStatus.values:
        assert f"Task {status}." in column(page, status)
        assert '<span class="board-count">1</span>' in column(page, status)


def test_a_board_shows_no_other_workspace(console, world, borealis):
    from tests.console.conftest import World

    World(borealis.workspace, borealis.mallory_user, borealis.mallory).task(title="Not yours")
    world.task(title="Ours")
    page = board_of(console, world)
    assert "Ours" in page
    assert "Not yours" not in page


def test_a_column_shows_its_newest_fifty_and_counts_no_further_than_its_cap(
    console, world, monkeypatch
):
    monkeypatch.setattr(board, "COUNTED", 55)
    for number in range(60):
        world.task(title=f"Task {number}.", status="done")
    part = column(board_of(console, world), "done")
    assert part.count("board-card") == 50
    assert "Task 59." in part
    assert "Task 9." not in part
    assert "55+" in part


def test_missions_that_run_show_how_far_they_are_and_where_they_wait(console, world):
    mission = world.mission(name="Big hole", group="Big hole", status="paused")
    world.mission(name="Forgotten hole", status="completed")
    for status in ("done", "done", "failed", "pending"):
        world.task(mission_id=mission.pk, group="Big hole", status=status)
    world.barrier(mission, state="reached")
    page = board_of(console, world)
    assert "3 of 4 tasks ended" in page
    assert "checkpoint look" in page
    assert "Forgotten hole" not in page


def test_a_board_asks_as_much_for_many_tasks_as_for_one(
    console, world, django_assert_num_queries, django_assert_max_num_queries
):
    world.task(mission_id=world.mission(group="Hole", status="active").pk, group="Hole")
    url = reverse("admin:board_live", args=[world.workspace.pk])
    console.get(url)
    with django_assert_max_num_queries(10) as few:
        console.get(url)
    for number in range(30):
        name = f"Hole {number}"
        mission = world.mission(name=name, group=name, status="active")
        world.barrier(mission, state="reached")
        world.task(mission_id=mission.pk, group=name, status="review")
    with django_assert_num_queries(len(few.captured_queries)):
        console.get(url)


def test_the_fragment_is_what_the_page_shows(console, world):
    """Else a page would jump when it is refreshed the first time."""
    world.task(title="Dig")
    fragment = board_of(console, world, "board_live")
    assert fragment.strip() in board_of(console, world)
    assert "<html" not in fragment


def test_boards_are_chosen_where_work_is_done_first(console, world, borealis):
    world.task(status="in_progress")
    page = console.get(reverse("admin:board_choice")).text
    assert "1 task at work" in page
    listed = page.split("console-list")[1]
    assert listed.index("Aurora") < listed.index("Borealis")


def test_who_may_not_see_tasks_sees_no_board(client, world):
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_task"))
    client.force_login(watcher)
    urls = [reverse(f"admin:{name}", args=[world.workspace.pk]) for name in ("board", "board_live")]
    for url in [*urls, reverse("admin:board_choice")]:
        assert client.get(url).status_code == 403
    watcher.user_permissions.add(Permission.objects.get(codename="view_mission"))
    for url in [*urls, reverse("admin:board_choice")]:
        assert client.get(url).status_code == 200


@pytest.mark.parametrize("name", ["nobody", "01a201ab-6e26-7321-962a-d9046b02e543"])
def test_the_board_of_no_workspace_is_not_found(console, world, name):
    assert console.get(reverse("admin:board", args=[name])).status_code == 404


def test_the_dashboard_counts_tasks_and_missions(console, world):
    for status in ("in_progress", "review", "done", "failed"):
        world.task(status=status)
    world.task(ready=True)
    world.task()
    world.mission(status="active")
    world.mission(status="paused")
    cards = {card.title: card for card in dashboard.figures()["cards"]}
    tasks, missions = cards["Tasks at work"], cards["Missions"]
    assert (tasks.value, tasks.note) == ("2", "1 ready, 1 waiting; 24 h: 1 done, 1 failed")
    assert (missions.value, missions.note) == ("2", "1 active, 1 paused")
    assert reverse("admin:board_choice") in console.get(reverse("admin:index")).text


def test_the_dashboards_counts_of_tasks_walk_indexes(world):
    from django.db import connection

    from apps.console import counts

    Task.unscoped.bulk_create(
        Task(workspace=world.workspace, title=str(n), status="done") for n in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")
        values = {"most": 10, "since": "ffffffff-0000-7000-8000-000000000000"}
        cursor.execute(f"EXPLAIN {counts._TASKS}", values)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan, plan
