from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.tasks.events import TaskMoved, TaskRemoved


class MissionsConfig(AppConfig):
    name = "apps.missions"
    label = "missions"

    def ready(self) -> None:
        from apps.conversations.tools import check_missions_with
        from apps.events.services import subscribe
        from apps.missions.narrating import narrate
        from apps.missions.scheduled import ScheduledMissions
        from apps.missions.services.deadlocks import WORK, Deadlocks
        from apps.missions.tools import check_document, register_tools
        from apps.missions.words import register_words
        from apps.tasks.events import TaskMoved, TaskRemoved
        from apps.tasks.prompt import describe_missions_with
        from apps.tasks.reviewing import on_work
        from apps.tasks.schedules import on_due

        subscribe(TaskMoved, _look_again)
        subscribe(TaskRemoved, _look_again)
        describe_missions_with(narrate)
        on_due("mission", ScheduledMissions())
        on_work(WORK, Deadlocks())
        register_tools()
        check_missions_with(check_document)
        register_words()


def _look_again(actor: Actor, fact: TaskMoved | TaskRemoved) -> None:
    """A task of a mission has ended, was opened again, or is gone: its mission looks at its graph.

    After the commit: the mission's row is locked before its tasks', and here a task's is held.
    """
    from apps.core.queue import enqueue
    from apps.tasks.models import TERMINAL

    ends = {getattr(fact, "before", ""), getattr(fact, "after", "done")}
    if fact.mission_id is not None and not TERMINAL.isdisjoint(ends):
        enqueue("missions.advance", workspace_id=actor.workspace_id, mission_id=fact.mission_id)
