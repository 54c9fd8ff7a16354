"""A workspace with an agent that says what it was told to, and the hands to set it going."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from apps.core import tools
from apps.core.actor import Actor
from apps.core.aio import spawn
from apps.core.tools import Tool
from apps.engine.ports import ToolCall
from apps.engine.providers.scripted import Line, add_script
from apps.events.models import Event
from apps.formations import policy
from apps.formations.services import create_agent, update_agent
from apps.runs import runner
from apps.runs.models import Run
from apps.tasks.models import Task
from apps.tasks.services import dispatch_tasks
from apps.tasks.services.creating import create_task
from apps.tasks.services.reviewing import on_review
from apps.workspaces.services import update_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)
ANYTHING = {"type": "object", "additionalProperties": True}


def says(*text: str, **more: Any) -> Line:
    return Line(text, **more)


def calls(tool: str, **arguments: Any) -> Line:
    return Line(calls=(ToolCall(f"c-{tool}", tool, arguments),))


class World:
    """Aurora with an agent called `writer`. `go()` starts what is ready and runs it to its rest."""

    def __init__(self, aurora: Any, queue: list[tuple[str, dict[str, Any]]]) -> None:
        self.aurora, self.queue = aurora, queue
        self.engine = Actor.for_engine(aurora.id)
        self.agent = create_agent(aurora.ada, name="writer")
        self.script(says("It is written."))

    def script(self, *lines: Line) -> None:
        """What the agent says from now on. (A name of its own: models are remembered for a while.)"""
        name = f"tasks-{next(_numbers)}"
        add_script(name, lines)
        update_agent(self.aurora.ada, self.agent.pk, model=f"scripted/{name}")

    def prefer(self, **settings: Any) -> None:
        update_settings(self.aurora.ada, settings)

    def task(self, title: str = "Write it", **fields: Any) -> Task:
        told = {"description": "Write a poem.", "assign_to": "writer"} | fields
        stored = {name: told.pop(name) for name in list(told) if name in STORED}
        task = create_task(self.aurora.ada, title=title, **told)
        if stored:
            Task.unscoped.filter(pk=task.pk).update(**stored)
            task.refresh_from_db()
        return task

    def started(self, **fields: Any) -> tuple[Task, Run]:
        """A task whose attempt is queued."""
        task = self.task(**fields)
        dispatch_tasks(self.engine)
        task.refresh_from_db()
        return task, Run.unscoped.get(pk=task.run_id)

    def advance(self, run: Run) -> Any:
        """The run on the home loop: a future."""
        return spawn(runner.advance(run.workspace_id, run.pk))

    def run_queued(self) -> int:
        runs = list(Run.unscoped.filter(status="queued").order_by("created_at"))
        for run in runs:
            self.advance(run).result(20)
        return len(runs)

    def go(self, rounds: int = 30) -> None:
        """Until nothing is ready and nothing is queued."""
        for _ in range(rounds):
            started = dispatch_tasks(self.engine)
            if not self.run_queued() + started:
                return
        raise AssertionError("it never comes to rest")

    def facts(self, *families: str) -> list[str]:
        names = Event.objects.filter(workspace_id=self.aurora.id).order_by("seq")
        listed = names.values_list("name", flat=True)
        return [
            name
            for name in listed
            if name.split(".")[0] in families and name not in {"agent.created", "agent.updated"}
        ]

    def told(self, name: str) -> list[dict[str, Any]]:
        """The payloads of every fact of that name."""
        rows = Event.objects.filter(workspace_id=self.aurora.id, name=name).order_by("seq")
        return list(rows.values_list("payload", flat=True))

    def moves(self) -> list[tuple[str, str]]:
        return [(move["before"], move["after"]) for move in self.told("task.moved")]


# Fields that no client sets.
STORED = {"deadline", "created_at", "mission_id", "model", "ready"}


@pytest.fixture
def world(aurora: Any, recording_queue: Any) -> World:
    policy._known.clear()
    return World(aurora, recording_queue)


@pytest.fixture
def reviewer() -> Iterator[list[tuple[Any, str]]]:
    """Stands in for the app that judges: (task id, trigger) of every review asked for."""
    asked: list[tuple[Any, str]] = []

    def open_(actor: Actor, task: Task, trigger: str) -> list[Any]:
        asked.append((task.pk, str(trigger)))
        return []

    from apps.tasks.services import reviewing

    before = reviewing._opener
    on_review(open_)
    yield asked
    on_review(before)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`register("name", function, **options)`: a tool for this test only."""
    monkeypatch.setattr(tools, "_registry", dict(tools._registry))

    def add(name: str, call: Any, **options: Any) -> Tool:
        return tools.register(Tool(name, f"The tool {name}.", ANYTHING, call, **options))

    return add
