"""A mission from its document to its end (contract/polpo.md §7)."""

from __future__ import annotations

import pytest

from apps.formations.selectors import list_agents
from apps.missions.errors import MissionInvalid, MissionStateForbids
from apps.missions.models import Barrier
from apps.missions.services import advance, create_mission, execute_mission, update_mission
from apps.tasks.errors import TaskTitleTaken
from apps.tasks.models import Task
from tests.missions.conftest import entry

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_mission_runs_its_graph_to_the_end(world):
    mission = world.mission(entry("ship", "build"), entry("build", "plan"), entry("plan"))
    tasks = world.execute(mission)
    assert [task.title for task in tasks] == ["ship", "build", "plan"]  # as in the document
    assert [task.ready for task in tasks] == [False, False, True]
    world.go()
    assert world.fresh(mission).status == "completed"
    started = [fact["task_title"] for fact in world.told("agent.spawned")]
    assert started == ["plan", "build", "ship"]


def test_its_end_is_told_with_a_report(world):
    mission = world.mission(entry("plan"), entry("build", "plan"))
    world.execute(mission)
    world.go()
    (told,) = world.told("mission.completed")
    assert told["all_passed"] is True
    assert [(task["title"], task["status"]) for task in told["report"]["tasks"]] == [
        ("plan", "done"),
        ("build", "done"),
    ]
    assert world.fresh(mission).report == told["report"]
    assert mission.finished_at >= mission.started_at


def test_a_dependency_may_stand_after_what_depends_on_it(world):
    mission = world.mission(entry("late", "early"), entry("early"))
    late, early = world.execute(mission)
    assert late.depends_on == [early.pk]


@pytest.mark.parametrize(
    ("tasks", "place", "words"),
    [
        ([entry("a", "b"), entry("b", "a")], "tasks[0].dependsOn", "wait for each other"),
        ([entry("a", "nobody")], "tasks[0].dependsOn[0]", "There is no 'nobody'"),
        ([entry("a"), entry("a")], "tasks[0].title", "unique"),
        ([], "tasks", "Needs 1"),
        ([entry(f"t{n}") for n in range(10_000)], "data", "bytes"),
        ([entry("a", expectations=[{"type": "hope"}])], "tasks[0].expectations[0].type", "one of"),
    ],
)
def test_a_document_that_cannot_run_is_refused_when_it_is_saved(world, tasks, place, words):
    with pytest.raises(MissionInvalid) as refused:
        world.mission(*tasks)
    assert words in " ".join(refused.value.details["fields"][place])


def test_text_is_as_good_as_an_object(world):
    mission = create_mission(
        world.aurora.ada, data='{"tasks": [{"title": "a", "description": "b"}]}'
    )
    assert mission.document["tasks"][0]["title"] == "a"
    assert (mission.name, mission.status) == ("mission-1", "draft")


def test_nothing_is_half_executed(world):
    mission = world.mission(entry("a"), entry("b", assignTo="nobody"))
    with pytest.raises(MissionInvalid, match="no agent called nobody"):
        execute_mission(world.aurora.ada, mission.pk)
    mission.refresh_from_db()
    assert (mission.status, mission.execution_count) == ("draft", 0)
    assert not Task.unscoped.filter(mission_id=mission.pk).exists()
    assert not Barrier.unscoped.filter(mission_id=mission.pk).exists()


def test_a_title_that_is_taken_in_the_group_stops_all_of_it(world):
    mission = world.mission(entry("a"), entry("b"))
    world.task(title="b", group="Launch")
    world.execute(mission)  # another group is found, so that both may run
    assert world.fresh(mission).group == "Launch #2"
    with pytest.raises(TaskTitleTaken):
        world.task(title="b", group="Launch #2")


def test_a_second_execution_has_its_own_group(world):
    mission = world.mission(entry("a"))
    world.execute(mission)
    world.go()
    update_mission(world.aurora.ada, mission.pk, status="draft")
    world.execute(mission)
    assert world.fresh(mission).group == "Launch #2"
    assert mission.execution_count == 2


def test_only_one_execution_runs(world):
    mission = world.mission(entry("a"))
    world.execute(mission)
    with pytest.raises(MissionStateForbids):
        world.execute(mission)


def test_its_own_agents_come_and_leave_with_it(world):
    world.agent.refresh_from_db()
    team = [{"name": "poet", "role": "Writes verses", "model": world.agent.model}]
    mission = world.mission(entry("a", assignTo="poet"), team=team)
    world.execute(mission)
    assert "poet" in {agent.name for agent in list_agents(world.aurora.ada)}
    world.go()
    assert world.fresh(mission).status == "completed"
    assert "poet" not in {agent.name for agent in list_agents(world.aurora.ada)}


def test_what_runs_does_not_change_with_its_document(world):
    mission = world.mission(entry("a"), entry("b", "a"))
    world.execute(mission)
    update_mission(world.aurora.ada, mission.pk, data={"tasks": [entry("c")]})
    world.go()
    assert world.statuses(mission) == {"a": "done", "b": "done"}
    assert world.fresh(mission).status == "completed"


def test_a_score_below_the_threshold_fails_the_mission(world):
    from apps.tasks.models import Assessment

    mission = world.mission(entry("a"), qualityThreshold=4)
    (task,) = world.execute(mission)
    Assessment(
        workspace_id=world.aurora.id, task_id=task.pk, number=1, passed=True, global_score=3.0
    ).save()
    world.go()
    assert world.fresh(mission).status == "failed"
    assert world.told("quality.threshold_missed")[0]["avg_score"] == 3.0


def test_a_task_is_told_what_it_builds_on(world):
    from apps.missions.narrating import narrate
    from tests.tasks.conftest import says

    world.script(says("Three ideas."))
    mission = world.mission(entry("ideas"), entry("draft", "ideas"), entry("other"))
    _, draft, other = world.execute(mission)
    world.go()
    told = narrate(world.engine, draft)
    assert "- [done] ideas (writer)" in told
    assert told.endswith("The result of ideas:\nThree ideas.")
    assert "The result of" not in narrate(world.engine, other)


def test_a_look_while_a_task_is_under_way_costs_little(world, count_queries):
    mission = world.mission(entry("a"), entry("b"), entry("c", "a", "b"))
    world.execute(mission)
    with count_queries(
        3
    ):  # the mission without barriers, its task under way, when it was looked at
        advance(world.engine, mission.pk)
    assert world.fresh(mission).looked_at is not None


def test_a_mission_with_barriers_is_looked_at_while_its_tasks_run(world):
    gate = {"name": "g", "afterTasks": ["a"], "blocksTasks": ["c"]}
    mission = world.mission(entry("a"), entry("b"), entry("c", "a"), qualityGates=[gate])
    world.execute(mission)
    world.set_tasks("a", status="done", ready=False)
    advance(world.engine, mission.pk)  # b is still to come
    assert Barrier.unscoped.get().state == "passed"
