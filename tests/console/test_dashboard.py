"""The dashboard's figures, and what they cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.core.paginator import Paginator
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import User
from apps.console import counts, dashboard, readonly, show
from apps.console.filters import uuid_floor
from apps.core.ids import uuid7
from apps.runs.models import Run


def card(title):
    return next(card for card in dashboard.figures()["cards"] if card.title == title)


def test_the_figures_are_those_of_the_rows(console, world):
    session = world.session(title="Live one")
    for status in ("succeeded", "succeeded", "failed", "queued"):
        world.run(
            session,
            status=status,
            cost_micros=250_000,
            error_code="auth" if status == "failed" else "",
        )
    world.approval()
    page = console.get(reverse("admin:index")).text
    assert card("Active sessions").value == "1"
    assert card("Runs, 24 h").value == "4"
    assert card("Error rate, 24 h").value == "33.3%"
    assert card("Cost today").value == "$1.00"
    assert card("Queue").value == "1"
    assert card("Approvals").value == "1"
    assert "Live one" in page
    assert "auth" in page


def test_the_dashboard_asks_at_most_fourteen_questions(world):
    for _ in range(20):
        world.run(world.session())
    with CaptureQueriesContext(
        connection,
    ) as asked:
        dashboard.figures()
    assert len(asked) <= 14


def test_the_figures_are_kept_for_five_seconds(world, django_assert_num_queries):
    dashboard.figures()
    with django_assert_num_queries(0):
        dashboard.figures()


def test_no_figure_reads_the_whole_table_of_runs(world):
    """With many rows outside its range, each query walks an index and not the table."""
    past = timezone.now() - timedelta(days=90)
    Run.unscoped.bulk_create(
        Run(id=_uuid_at(past, n), workspace=world.workspace, status="succeeded", created_at=past)
        for n in range(5_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_run")
    with CaptureQueriesContext(connection) as asked:
        dashboard.figures()
    of_runs = [query["sql"] for query in asked if 'FROM "runs_run"' in query["sql"]]
    assert len(of_runs) >= 6
    for sql in of_runs:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan on runs_run" not in plan, plan


def _uuid_at(moment, n):
    return uuid_floor(moment).__class__(int=uuid_floor(moment).int + n)


def test_rows_made_since_a_moment_are_a_range_of_the_key():
    before = timezone.now() - timedelta(milliseconds=5)
    made = uuid7()
    after = timezone.now() + timedelta(milliseconds=5)
    assert uuid_floor(before) < made < uuid_floor(after)


def test_staff_without_the_right_see_no_figures(client, world):
    world.session(title="Not for you")
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    client.force_login(watcher)
    page = client.get(reverse("admin:index"))
    assert page.status_code == 200
    assert "Not for you" not in page.text
    watcher.user_permissions.add(Permission.objects.get(codename="view_run"))
    assert "Not for you" in client.get(reverse("admin:index")).text


def test_a_long_list_is_counted_no_further_than_its_cap(world, monkeypatch):
    monkeypatch.setattr(readonly, "EXACT_UP_TO", 10)
    for _ in range(25):
        world.run()
    mine = Run.unscoped.filter(workspace=world.workspace).order_by("-pk")
    assert readonly.BoundedPaginator(mine, 5).count == 10
    few = mine.filter(pk__in=[run.pk for run in mine[:7]])
    assert readonly.BoundedPaginator(few, 5).count == 7
    assert Paginator(mine, 5).count == 25


@pytest.mark.parametrize(("seconds", "healthy"), [(5, True), (600, False)])
def test_workers_are_healthy_while_their_heart_beats(world, seconds, healthy):
    beat = timezone.now() - timedelta(seconds=seconds)
    apps.get_model("embedded", "Heartbeat").objects.create(name="worker", at=beat)
    assert dashboard.figures()["workers"]["healthy"] is healthy


def test_a_worker_never_heard_of_is_not_called_healthy(world):
    assert counts.last_heartbeat() is None
    assert dashboard.figures()["workers"]["healthy"] is False


def test_a_lease_nobody_renewed_is_shown(world):
    now = timezone.now()
    apps.get_model("embedded", "Heartbeat").objects.create(name="worker", at=now)
    world.run(status="running", lease_owner="gone", lease_until=now - timedelta(minutes=1))
    workers = dashboard.figures()["workers"]
    assert (workers["lapsed"], workers["healthy"]) == (1, False)


def test_money_and_counts_are_written_for_people():
    assert [show.usd(n) for n in (0, 1_500, 2_500_000)] == ["$0.00", "$0.0015", "$2.50"]
    assert [show.compact(n) for n in (950, 12_300, 4_500_000)] == ["950", "12.3k", "4.5M"]
    assert [show.duration(n) for n in (0.85, 12, 300)] == ["850 ms", "12 s", "5 min"]
