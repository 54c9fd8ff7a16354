"""Aborting, resuming and removing missions; those on a schedule (contract/polpo.md §7.5-7.7)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import InvalidInput, ScopeInsufficient
from apps.engine.ports import Fault
from apps.missions import selectors
from apps.missions.errors import MissionNotFound, MissionStateForbids
from apps.missions.models import Mission
from apps.missions.services import (
    abort_mission,
    create_mission,
    delete_mission,
    execute_mission,
    resume_mission,
    update_mission,
)
from apps.runs.models import Run
from apps.tasks.models import Schedule, Task
from apps.tasks.services import dispatch_tasks, fire_due
from tests.missions.conftest import entry
from tests.tasks.conftest import says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def under_way(world):
    """a is at work, b waits for it."""
    mission = world.mission(entry("a"), entry("b", "a"))
    world.execute(mission)
    dispatch_tasks(world.engine)
    return mission


def test_an_abort_ends_everything_at_once(world, under_way):
    assert abort_mission(world.aurora.ben, under_way.pk, reason="Wrong plan") == 2
    assert world.statuses(under_way) == {"a": "failed", "b": "failed"}
    assert world.fresh(under_way).status == "cancelled"
    assert not Run.unscoped.filter(status__in=["queued", "running", "waiting"]).exists()
    assert world.told("mission.aborted")[0]["aborted"] == 2
    world.go()
    assert world.fresh(under_way).status == "cancelled"


def test_a_paused_mission_can_be_aborted(world, under_way):
    update_mission(world.aurora.ben, under_way.pk, status="paused")
    abort_mission(world.aurora.ben, under_way.pk)
    assert world.fresh(under_way).status == "cancelled"


def test_a_failed_mission_is_taken_up_again(world):
    world.script(says(fault=Fault.AUTH))
    mission = world.mission(entry("a", maxRetries=0))
    world.execute(mission)
    world.go()
    assert world.fresh(mission).status == "failed"
    assert selectors.list_resumable(world.aurora.ada) == [mission]

    world.script(says("Now it works."))
    assert resume_mission(world.aurora.ben, mission.pk, retry_failed=True) == (1, 0)
    world.go()
    assert world.fresh(mission).status == "completed"
    assert selectors.list_resumable(world.aurora.ada) == []


def test_a_draft_has_nothing_to_resume(world):
    mission = world.mission(entry("a"))
    with pytest.raises(MissionStateForbids):
        resume_mission(world.aurora.ben, mission.pk)


def test_removal_takes_its_tasks_and_its_schedule(world, under_way):
    assert delete_mission(world.aurora.ben, under_way.pk) == 2
    assert not Task.unscoped.filter(mission_id=under_way.pk).exists()
    assert not Run.unscoped.filter(status__in=["queued", "running", "waiting"]).exists()
    with pytest.raises(MissionNotFound):
        selectors.get_mission(world.aurora.ada, under_way.pk)


@pytest.mark.parametrize("status", ["active", "paused", "completed", "failed", "cancelled"])
def test_only_an_execution_makes_a_plan_run(world, status):
    mission = world.mission(entry("a"))
    if status != "cancelled":
        with pytest.raises(MissionStateForbids):
            update_mission(world.aurora.ben, mission.pk, status=status)
    with pytest.raises(MissionStateForbids):
        create_mission(world.aurora.ben, data={"tasks": [entry("a")]}, status=status)


def test_a_reader_changes_nothing(world, under_way):
    for verb in (abort_mission, execute_mission, resume_mission, delete_mission):
        with pytest.raises(ScopeInsufficient):
            verb(world.aurora.cleo, under_way.pk)


def test_a_stranger_finds_nothing(world, under_way, borealis):
    for verb in (abort_mission, execute_mission, resume_mission, delete_mission):
        with pytest.raises(MissionNotFound):
            verb(borealis.mallory, under_way.pk)


# --- On a schedule ----------------------------------------------------------------------------
@pytest.fixture
def nightly(world):
    return world.mission(entry("a"), schedule="0 3 * * *")


def due(**columns):
    Schedule.unscoped.update(next_run_at=timezone.now() - timedelta(seconds=1), **columns)


def test_a_cron_makes_a_mission_recurring(world, nightly):
    assert nightly.status == "recurring"
    schedule = Schedule.unscoped.get(subject_id=nightly.pk)
    assert (schedule.recurring, schedule.next_run_at.hour) == (True, 3)


def test_it_runs_when_its_time_has_come_and_recurs(world, nightly):
    due()
    assert fire_due() == 1
    assert fire_due() == 0
    assert world.fresh(nightly).status == "active"
    world.go()
    assert world.fresh(nightly).status == "recurring"
    assert Schedule.unscoped.get().next_run_at > timezone.now()
    due()
    fire_due()
    assert world.fresh(nightly).group == "Launch #2"


def test_a_time_that_comes_while_it_runs_is_skipped_and_said(world, nightly):
    due()
    fire_due()
    due()
    assert fire_due() == 1
    assert world.fresh(nightly).execution_count == 1
    assert "under way" in world.told("schedule.failed")[0]["reason"]


def test_a_moment_runs_it_once(world):
    moment = (timezone.now() + timedelta(hours=1)).isoformat()
    mission = world.mission(entry("a"), schedule=moment)
    assert mission.status == "scheduled"
    due()
    fire_due()
    world.go()
    assert world.fresh(mission).status == "completed"
    assert Schedule.unscoped.get().enabled is False
    assert world.told("schedule.completed")


def test_a_thousand_tasks_fire_like_one(world):
    """Their facts are more than one statement writes."""
    world.mission(*(entry(f"t{index}") for index in range(1_000)), schedule="0 3 * * *")
    due()
    assert fire_due() == 1
    assert Task.unscoped.count() == len(world.told("task.created")) == 1_000


def test_its_end_date_ends_it(world, nightly):
    due(end_date=timezone.now() - timedelta(minutes=1))
    assert fire_due() == 0
    assert world.fresh(nightly).status == "completed"
    assert world.told("schedule.expired")


@pytest.mark.parametrize("when", ["61 * * * *", "tomorrow", "2001-01-01T00:00:00Z", "0 0 30 2 *"])
def test_a_time_that_never_comes_is_refused(world, when):
    with pytest.raises(InvalidInput):
        world.mission(entry("a"), schedule=when)
    assert not Mission.unscoped.exists()


def test_back_to_a_draft_forgets_the_schedule(world, nightly):
    update_mission(world.aurora.ben, nightly.pk, status="draft")
    assert not Schedule.unscoped.exists()
