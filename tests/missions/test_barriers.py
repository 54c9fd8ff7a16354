"""Gates, checkpoints and delays of a mission that runs (contract/polpo.md §7.4)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actor import Actor
from apps.engine.ports import Fault
from apps.missions import selectors
from apps.missions.errors import CheckpointNotFound, MissionStateForbids
from apps.missions.models import Barrier, Mission
from apps.missions.services import (
    advance,
    resume_checkpoint,
    resume_mission,
    update_mission,
    wake_due,
)
from tests.missions.conftest import entry
from tests.tasks.conftest import says

pytestmark = pytest.mark.django_db(transaction=True)

HOLD = {"name": "look", "afterTasks": ["a"], "blocksTasks": ["b"], "message": "Look at it."}


@pytest.fixture
def at_checkpoint(world):
    """a is done, b waits behind the checkpoint, c would be free to start."""
    mission = world.mission(
        entry("a"), entry("b", "a"), entry("c", "a", maxRetries=0), checkpoints=[HOLD]
    )
    world.execute(mission)
    world.go()
    return mission


def test_a_checkpoint_pauses_the_whole_mission(world, at_checkpoint):
    assert world.fresh(at_checkpoint).status == "paused"
    assert world.statuses(at_checkpoint)["b"] == "pending"
    (told,) = world.told("checkpoint.reached")
    assert (told["barrier"], told["message"]) == ("look", "Look at it.")
    assert [b.name for b in selectors.checkpoints_waiting(world.aurora.ada)] == ["look"]


def test_it_goes_on_when_somebody_lets_it(world, at_checkpoint):
    resume_checkpoint(world.aurora.ben, at_checkpoint.pk, "look")
    world.go()
    assert world.statuses(at_checkpoint) == {"a": "done", "b": "done", "c": "done"}
    assert world.fresh(at_checkpoint).status == "completed"
    assert len(world.told("checkpoint.resumed")) == 1
    assert selectors.checkpoints_waiting(world.aurora.ada) == []


def test_a_checkpoint_is_passed_once_and_by_its_name(world, at_checkpoint):
    with pytest.raises(CheckpointNotFound):
        resume_checkpoint(world.aurora.ben, at_checkpoint.pk, "other")
    resume_checkpoint(world.aurora.ben, at_checkpoint.pk, "look")
    with pytest.raises(CheckpointNotFound):
        resume_checkpoint(world.aurora.ben, at_checkpoint.pk, "look")


def test_resuming_the_mission_does_not_pass_its_checkpoint(world, at_checkpoint):
    resume_mission(world.aurora.ben, at_checkpoint.pk)
    with pytest.raises(MissionStateForbids, match="checkpoint"):
        update_mission(world.aurora.ben, at_checkpoint.pk, status="active")
    world.go()
    assert world.fresh(at_checkpoint).status == "paused"
    assert world.statuses(at_checkpoint)["b"] == "pending"


def test_a_mission_that_is_paused_by_hand_starts_nothing(world):
    mission = world.mission(entry("a"), entry("b", "a"))
    world.execute(mission)
    update_mission(world.aurora.ben, mission.pk, status="paused")
    world.go()
    assert world.statuses(mission) == {"a": "pending", "b": "pending"}
    resume_mission(world.aurora.ben, mission.pk)
    world.go()
    assert world.fresh(mission).status == "completed"


def test_a_delay_holds_until_its_time_has_come(world):
    delay = {"name": "wait", "afterTasks": ["a"], "blocksTasks": ["b"], "duration": "PT1H"}
    mission = world.mission(entry("a"), entry("b", "a"), delays=[delay])
    world.execute(mission)
    world.go()
    assert world.statuses(mission) == {"a": "done", "b": "pending"}
    assert [b.name for b in selectors.delays_running(world.aurora.ada)] == ["wait"]
    in_an_hour = world.fresh(mission).wake_at - timezone.now()
    assert timedelta(minutes=59) < in_an_hour <= timedelta(hours=1)

    past = timezone.now() - timedelta(seconds=1)
    Barrier.unscoped.update(expires_at=past)
    Mission.unscoped.update(wake_at=past)
    wake_due()
    world.go()
    assert world.statuses(mission) == {"a": "done", "b": "done"}
    assert [fact["barrier"] for fact in world.told("delay.expired")] == ["wait"]


@pytest.fixture
def gated(world):
    """b waits behind a gate that wants all before it to have passed."""
    gate = {"name": "good", "afterTasks": ["a"], "blocksTasks": ["b"], "requireAllPassed": True}
    return world.mission(entry("a", maxRetries=0), entry("b", "a"), qualityGates=[gate])


def test_a_gate_that_passes_lets_go(world, gated):
    world.execute(gated)
    world.go()
    assert world.statuses(gated) == {"a": "done", "b": "done"}
    assert [fact["barrier"] for fact in world.told("quality.gate_passed")] == ["good"]


def test_a_gate_that_fails_is_told_once_and_fails_what_waits(world, gated):
    world.prefer(max_resolution_attempts=0)
    world.script(says(fault=Fault.AUTH))
    world.execute(gated)
    world.go()
    assert world.statuses(gated) == {"a": "failed", "b": "failed"}
    assert world.fresh(gated).status == "failed"
    assert len(world.told("quality.gate_failed")) == 1
    assert "a" in world.told("quality.gate_failed")[0]["reason"]


def test_looking_twice_changes_nothing(world, at_checkpoint):
    before = world.facts("mission", "checkpoint", "task")
    for _ in range(3):
        advance(Actor.for_system(world.aurora.id), at_checkpoint.pk)
    assert world.facts("mission", "checkpoint", "task") == before
