"""Missions on a schedule (contract/polpo.md §7.7)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from apps.missions.errors import MissionNotFound, MissionStateForbids
from apps.missions.models import EXECUTABLE, RUNNING, MissionStatus
from apps.missions.services.running import begin
from apps.missions.services.saving import lock_mission

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.tasks.models import Schedule


class ScheduledMissions:
    """`tasks.schedules.Due`: when its time comes, a mission is executed."""

    def lock(self, actor: Actor, schedule: Schedule) -> None:
        with suppress(MissionNotFound):
            lock_mission(actor, schedule.subject_id)

    def fire(self, actor: Actor, schedule: Schedule) -> list[Fact]:
        """Raises MissionStateForbids while the last execution is still under way: that one is skipped."""
        mission = lock_mission(actor, schedule.subject_id)
        if mission.status in RUNNING:
            raise MissionStateForbids("The last execution is still under way.")
        if mission.status not in EXECUTABLE:
            raise MissionStateForbids(f"A mission that is {mission.status} cannot be executed.")
        return begin(actor, mission)[1]

    def expired(self, actor: Actor, schedule: Schedule) -> list[Fact]:
        """Its end date has come: there is nothing more to do."""
        mission = lock_mission(actor, schedule.subject_id)
        if mission.status in (MissionStatus.SCHEDULED, MissionStatus.RECURRING):
            mission.status = MissionStatus.COMPLETED
            mission.save()
        return []
