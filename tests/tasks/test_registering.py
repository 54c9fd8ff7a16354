"""`register_outcome`: what an attempt says it has made (contract/polpo.md §5.2)."""

from __future__ import annotations

import asyncio

import pytest

from apps.core.aio import spawn
from apps.core.ids import uuid7
from apps.core.tools import ToolContext, ToolFailed
from apps.formations.services import update_agent
from apps.formations.toolbox import WorkspaceToolBox
from apps.runs.models import Step
from apps.tasks.errors import TaskStateForbids, TooManyOutcomes
from apps.tasks.services.registering import register_outcome_of
from apps.tasks.tools import register_outcome
from tests.tasks.conftest import calls, says

pytestmark = pytest.mark.django_db(transaction=True)

POEM = {"type": "file", "label": "The poem", "path": "poem.md", "mimeType": "text/markdown"}


def test_an_agent_registers_what_it_has_made(world):
    update_agent(world.aurora.ada, world.agent.pk, tools=[])  # it is the task's own tool
    world.script(calls("register_outcome", **POEM), says("Done."))
    task = world.task()
    world.go()
    task.refresh_from_db()
    (outcome,) = task.outcomes
    assert POEM.items() <= outcome.items()
    assert outcome["producedBy"] == "writer"
    assert outcome["producedAt"].endswith("Z")
    assert len(outcome["id"]) == 21
    assert {"task_id": str(task.pk), "changed": ["outcomes"]} in world.told("task.updated")


def test_the_same_call_registers_once(world):
    _, run = world.started()
    for _ in range(2):
        assert register_outcome_of(world.engine, run.pk, {"id": "x", **POEM}) == 1
    assert register_outcome_of(world.engine, run.pk, {"id": "y", **POEM}) == 2


def test_a_run_of_the_past_registers_nothing(world):
    world.started()
    with pytest.raises(TaskStateForbids):
        register_outcome_of(world.engine, uuid7(), {"id": "x"})


def test_an_attempt_has_a_bounded_number_of_outcomes(world):
    task, run = world.started()
    type(task).unscoped.filter(pk=task.pk).update(outcomes=[{"id": str(n)} for n in range(100)])
    with pytest.raises(TooManyOutcomes):
        register_outcome_of(world.engine, run.pk, {"id": "x"})
    assert register_outcome_of(world.engine, run.pk, {"id": "99"}) == 100


@pytest.mark.parametrize(
    ("kind", "needed"), [("file", "path"), ("text", "text"), ("url", "url"), ("json", "data")]
)
def test_each_type_needs_what_it_is_about(world, kind, needed):
    context = ToolContext(world.engine, uuid7(), None, None, "key")
    with pytest.raises(ToolFailed, match=needed):
        asyncio.run(register_outcome(context, {"type": kind, "label": "It"}))


def test_a_wrong_call_is_told_to_the_model(world):
    world.script(calls("register_outcome", type="poem", label="It"), says("Oh."))
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, task.outcomes) == ("done", [])
    assert Step.unscoped.get(kind="tool").status == "error"


def test_outside_of_a_task_the_tool_is_not_offered(world):
    async def offered():
        context = ToolContext(world.engine, uuid7(), None, None, "")
        box = await WorkspaceToolBox.open(context)
        return [spec.name for spec in await box.specs()]

    assert "register_outcome" not in spawn(offered()).result(10)


def test_a_workspace_without_tools_has_not_this_one_either(world):
    world.prefer(tools_enabled=False)
    world.script(calls("register_outcome", **POEM), says("I could not."))
    task = world.task()
    world.go()
    task.refresh_from_db()
    assert (task.status, task.outcomes) == ("done", [])
