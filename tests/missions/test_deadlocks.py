"""What happens to a task whose dependency has failed for good (contract/polpo.md §5.7)."""

from __future__ import annotations

import json

import pytest

from apps.engine.ports import Fault
from apps.engine.providers.scripted import add_script
from apps.tasks.models import Task
from apps.tasks.services import remove_task
from tests.missions.conftest import entry
from tests.tasks.conftest import says

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broken(world):
    """a fails for good, b depends on it. `broken(answer…)`: what the judge says of that."""

    def begin(*answers):
        world.script(says(fault=Fault.AUTH))
        lines = [says(json.dumps(answer)) for answer in answers]
        add_script(f"judge-{id(answers)}", lines)
        world.prefer(judge_model=f"scripted/judge-{id(answers)}")
        mission = world.mission(entry("a", maxRetries=1), entry("b", "a"))
        world.execute(mission)
        return mission

    return begin


def test_a_task_may_do_without_what_failed(world, broken):
    mission = broken({"action": "absorb", "reason": "It is small.", "description": "Do a, too."})
    _until_thought_over(world)
    world.script(says("Both are done."))
    world.go()
    assert world.statuses(mission) == {"a": "failed", "b": "done"}
    assert "Do a, too." in Task.unscoped.get(title="b").description
    assert world.told("deadlock.resolved")[0]["action"] == "absorb"
    assert world.fresh(mission).status == "failed"  # a task of it has failed


def test_what_failed_may_be_tried_again(world, broken):
    mission = broken({"action": "retry", "reason": "It was bad luck."})
    _until_thought_over(world)
    world.script(says("This time it works."))
    world.go()
    assert world.statuses(mission) == {"a": "done", "b": "done"}
    assert world.fresh(mission).status == "completed"
    assert world.told("deadlock.detected")[0]["resolvable_count"] == 1


def test_or_there_is_nothing_to_be_done(world, broken):
    mission = broken({"action": "fail", "reason": "It is hopeless."})
    world.go()
    assert world.statuses(mission) == {"a": "failed", "b": "failed"}
    assert world.told("deadlock.unresolvable")[0]["reason"] == "It is hopeless."
    assert world.fresh(mission).status == "failed"


def test_a_judge_that_makes_no_sense_decides_nothing(world, broken):
    """Then what failed is tried again as often as it may be, and no further."""
    mission = broken({"action": "dance"}, {"action": "dance"}, {"action": "dance"})
    world.go()
    assert world.statuses(mission) == {"a": "failed", "b": "failed"}
    assert world.fresh(mission).status == "failed"


def test_what_waits_for_a_removed_task_fails(world):
    mission = world.mission(entry("a"), entry("b", "a"))
    a, _ = world.execute(mission)
    remove_task(world.aurora.ada, a.pk)
    world.go()
    assert world.statuses(mission) == {"b": "failed"}
    assert len(world.told("orchestrator.deadlocked")) == 1


def _until_thought_over(world):
    """Everything up to the answer; what the agent says is changed before it is asked again."""
    for _ in range(20):
        world.run_queued()
        if world.told("deadlock.resolved"):
            return
        world._carry_on()
        from apps.tasks.services import dispatch_tasks

        dispatch_tasks(world.engine)
    raise AssertionError("nobody thought it over")
