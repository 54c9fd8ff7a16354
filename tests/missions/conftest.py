"""Missions in Aurora, carried on as the jobs would carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from apps.core.actor import Actor
from apps.formations import policy
from apps.missions.models import Mission
from apps.missions.services import advance, create_mission, execute_mission
from apps.tasks.models import Task
from tests.tasks.conftest import World

if TYPE_CHECKING:
    from collections.abc import Iterable


def entry(title: str, *needs: str, **fields: Any) -> dict[str, Any]:
    """A task of a document."""
    told = {"title": title, "description": f"Do {title}.", "assignTo": "writer"}
    return told | ({"dependsOn": list(needs)} if needs else {}) | fields


class MissionWorld(World):
    """`mission(tasks…)` saves one, `execute` begins it, `go` carries everything on to its rest."""

    def mission(self, *tasks: dict[str, Any], name: str = "Launch", **document: Any) -> Mission:
        return create_mission(self.aurora.ada, data={"tasks": list(tasks), **document}, name=name)

    def execute(self, mission: Mission) -> list[Task]:
        tasks, _ = execute_mission(self.aurora.ada, mission.pk)
        return tasks

    def go(self, rounds: int = 40) -> None:
        for _ in range(rounds):
            super().go()
            if not self._carry_on():
                return
        raise AssertionError("it never comes to rest")

    def _carry_on(self) -> int:
        """The missions that were woken, once each."""
        woken = {ids["mission_id"] for job, ids in self.queue if job == "missions.advance"}
        self.queue[:] = [sent for sent in self.queue if sent[0] != "missions.advance"]
        for mission_id in woken:
            advance(Actor.for_system(self.aurora.id), UUID(str(mission_id)))
        return len(woken)

    def fresh(self, mission: Mission) -> Mission:
        mission.refresh_from_db()
        return mission

    def statuses(self, mission: Mission) -> dict[str, str]:
        mission.refresh_from_db()
        rows = Task.unscoped.filter(mission_id=mission.pk, group=mission.group)
        return dict(rows.order_by("created_at", "id").values_list("title", "status"))

    def set_tasks(self, titles: Iterable[str], **columns: Any) -> None:
        Task.unscoped.filter(title__in=list(titles)).update(**columns)


@pytest.fixture
def world(aurora: Any, recording_queue: Any) -> MissionWorld:
    policy._known.clear()
    return MissionWorld(aurora, recording_queue)
