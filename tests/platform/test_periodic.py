"""The platform's own periodic jobs: declared in code, kept by operators."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from polymux.embedded import beat, periodic, watch
from polymux.embedded.worker import known_jobs

pytestmark = pytest.mark.django_db


def test_every_declared_job_exists():
    assert periodic.sync_periodic(known_jobs()) == []
    assert PeriodicTask.objects.count() == len(periodic.PERIODIC)


def test_what_an_operator_changed_stays_changed():
    periodic.sync_periodic(known_jobs())
    row = PeriodicTask.objects.get(task="conversations.end_idle_sessions")
    slower, _ = IntervalSchedule.objects.get_or_create(every=10, period=IntervalSchedule.MINUTES)
    row.interval, row.enabled = slower, False
    row.save()
    periodic.sync_periodic(known_jobs())
    row.refresh_from_db()
    assert (row.interval_id, row.enabled) == (slower.pk, False)


def test_a_job_that_nobody_offers_is_left_out():
    assert "events.compact" in periodic.sync_periodic({"platform.beat"})
    assert [row.task for row in PeriodicTask.objects.all()] == ["platform.beat"]


def test_the_first_run_makes_its_records_once():
    from apps.workspaces.models import Workspace
    from polymux.embedded import first_run

    welcome = first_run.set_up()
    assert welcome is not None
    assert first_run.set_up() is None
    assert Workspace.objects.count() == 1

    lines = []
    first_run.show(welcome, "http://127.0.0.1:7890", lines.append)
    for once in (welcome.password, welcome.key_id, welcome.key_secret):
        assert sum(once in line for line in lines) == 1
    assert any("curl http://127.0.0.1:7890/v1/chat/completions" in line for line in lines)


def test_a_sign_of_life_is_fresh_and_then_is_not():
    from datetime import timedelta

    assert not watch.is_fresh()
    watch.record_heartbeat()
    assert watch.is_fresh()
    assert not watch.is_fresh(within=timedelta(0))


@pytest.mark.django_db(transaction=True)
def test_beats_that_start_together_make_each_interval_once(race):
    outcome = race(periodic.sync_periodic, known_jobs(), runners=6)
    assert outcome.errors == []
    seconds = list(IntervalSchedule.objects.values_list("every", flat=True))
    assert sorted(seconds) == sorted({item.seconds for item in periodic.PERIODIC})


def test_an_interval_that_is_there_twice_keeps_nobody_from_starting():
    for _ in range(2):
        IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS)
    assert periodic.sync_periodic(known_jobs()) == []


def test_a_beat_whose_database_is_away_goes_on_when_it_is_back(monkeypatch):
    tries, came_back = [], threading.Event()

    def sync(_known):
        tries.append(1)
        if len(tries) > 1:
            came_back.set()
        raise OperationalError("the database system is starting up")

    monkeypatch.setattr(periodic, "sync_periodic", sync)
    monkeypatch.setattr(beat, "REST", 0.01)
    one = beat.Beat()
    one.start()
    assert came_back.wait(10)
    one.close()
    assert one.join()
