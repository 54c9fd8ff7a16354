"""When a mission is executed by the clock (contract/polpo.md §4 and §7.7).

The document says it, the mission's status says whether once or again and again, and the row of
`tasks.Schedule` is what the tick looks at: these verbs keep the three together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core.actor import Scope
from apps.events.services import publish
from apps.missions.drafts import put_document, read_document, saved, shown
from apps.missions.models import RUNNING, MissionStatus
from apps.missions.services.saving import SCHEDULED, lock_mission
from apps.tasks.errors import ScheduleNotFound
from apps.tasks.services import change_schedule, remove_schedule, set_schedule

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.models import Mission
    from apps.tasks.models import Schedule


@transaction.atomic
def schedule_mission(
    actor: Actor,
    mission_id: UUID,
    *,
    expression: str,
    recurring: bool = False,
    end_date: datetime | None = None,
) -> Schedule:
    """Have a mission executed at a time, or again and again; replaces the schedule it had.

    One under way goes on and stands so when it ends. Raises MissionNotFound, InvalidInput.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    schedule, facts = set_schedule(
        actor,
        "mission",
        mission.pk,
        expression=expression,
        recurring=recurring,
        end_date=end_date,
    )
    _keep(actor, mission, schedule, facts)
    return schedule


@transaction.atomic
def reschedule_mission(actor: Actor, mission_id: UUID, **changes: Any) -> Schedule:
    """Some of `expression`, `recurring`, `end_date` and `enabled`.

    Raises MissionNotFound, ScheduleNotFound, InvalidInput.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    schedule, facts = change_schedule(actor, "mission", mission.pk, **changes)
    _keep(actor, mission, schedule, facts)
    return schedule


@transaction.atomic
def unschedule_mission(actor: Actor, mission_id: UUID) -> None:
    """A mission that waits for its time is a draft again. MissionNotFound, ScheduleNotFound."""
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    if not remove_schedule(actor, "mission", mission.pk):
        raise ScheduleNotFound
    before = shown(mission)
    mission.document = {name: part for name, part in mission.document.items() if name != "schedule"}
    mission.home = ""
    if mission.status in SCHEDULED:
        mission.status = MissionStatus.DRAFT
    _save(actor, mission, before, [])


def _keep(actor: Actor, mission: Mission, schedule: Schedule, facts: list[Fact]) -> None:
    before = shown(mission)
    put_document(mission, read_document(mission.document | {"schedule": schedule.expression}))
    mission.end_date = schedule.end_date
    standing = MissionStatus.RECURRING if schedule.recurring else MissionStatus.SCHEDULED
    if mission.status in RUNNING:
        mission.home = standing
    else:
        mission.status = standing
    _save(actor, mission, before, facts)


def _save(actor: Actor, mission: Mission, before: dict[str, Any], facts: list[Fact]) -> None:
    mission.save()
    record_change(
        actor, "mission.scheduled", "mission", mission.pk, before=before, after=shown(mission)
    )
    publish(actor, *facts, saved(mission))
