"""The end of an execution: its verdict, its report, and what the mission is afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.formations.services import remove_volatile
from apps.missions.events import MissionCompleted, ThresholdMissed
from apps.missions.models import MissionStatus
from apps.missions.report import mission_report
from apps.runs.selectors import files_touched
from apps.tasks.events import DeadlineMet, DeadlineMissed
from apps.tasks.selectors import scores_of
from apps.workspaces.preferences import read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from datetime import datetime

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.decision import Finish
    from apps.missions.models import Mission
    from apps.tasks.models import Task


def finish(actor: Actor, mission: Mission, tasks: list[Task], end: Finish) -> list[Fact]:
    """Write down the end of a locked mission's execution (contract/polpo.md §7.4)."""
    moment = timezone.now()
    mission.status = _status_after(mission, completed=end.completed)
    mission.finished_at, mission.wake_at = moment, None
    mission.report = mission_report(
        mission,
        tasks,
        scores_of(actor, [task.pk for task in tasks]),
        files_touched(actor, [task.run_id for task in tasks if task.run_id]),
        all_passed=end.completed,
        avg_score=end.avg_score,
    )
    if read_preferences(get_workspace(actor).settings).volatile_cleanup == "on_complete":
        remove_volatile(actor, mission.group)
    facts: list[Fact] = []
    if end.below_threshold and end.avg_score is not None and mission.quality_threshold is not None:
        facts.append(
            ThresholdMissed(
                mission_id=mission.pk,
                avg_score=end.avg_score,
                threshold=mission.quality_threshold,
            )
        )
    facts += _deadline(mission, moment)
    return [*facts, _completed(mission, completed=end.completed)]


def _status_after(mission: Mission, *, completed: bool) -> str:
    """A recurring mission is recurring again; a scheduled one that failed may be scheduled anew."""
    if mission.home == MissionStatus.RECURRING:
        return MissionStatus.RECURRING
    if completed:
        return MissionStatus.COMPLETED
    return MissionStatus.SCHEDULED if mission.home else MissionStatus.FAILED


def _completed(mission: Mission, *, completed: bool) -> Fact:
    report: dict[str, Any] = mission.report or {}
    return MissionCompleted(
        mission_id=mission.pk, group=mission.group, all_passed=completed, report=report
    )


def _deadline(mission: Mission, moment: datetime) -> list[Fact]:
    """Kept or missed, once: a miss may have been told while it still ran."""
    if mission.deadline is None or mission.sla == "missed":
        return []
    margin = round((mission.deadline - moment).total_seconds() * 1000)
    whose: dict[str, Any] = {
        "task_id": mission.pk,
        "entity_type": "mission",
        "deadline": mission.deadline.isoformat(),
    }
    if margin >= 0:
        return [DeadlineMet(**whose, margin_ms=margin)]
    return [DeadlineMissed(**whose, overdue_ms=-margin)]
