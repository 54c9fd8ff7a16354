"""Missions and what holds them, as the polpo surface writes them (contract/polpo.md §7.1 and §4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.ids import base62

if TYPE_CHECKING:
    from apps.missions.models import Barrier, Mission
    from apps.tasks.models import Schedule


def mission_json(mission: Mission) -> dict[str, Any]:
    """`data` is the document as JSON text, as upstream's clients expect it."""
    shown: dict[str, Any] = {
        "id": base62(mission.pk),
        "name": mission.name,
        "data": json.dumps(mission.document, ensure_ascii=False),
        "status": mission.status,
        "createdAt": rfc3339(mission.created_at),
        "updatedAt": rfc3339(mission.updated_at),
    }
    more = {
        "prompt": mission.prompt,
        "group": mission.group,
        "deadline": rfc3339(mission.deadline),
        "schedule": mission.document.get("schedule"),
        "endDate": rfc3339(mission.end_date),
        "qualityThreshold": mission.quality_threshold,
        "notifications": mission.notifications,
        "executionCount": mission.execution_count,
        "report": mission.report,
    }
    return shown | {name: value for name, value in more.items() if value}


def schedule_json(schedule: Schedule) -> dict[str, Any]:
    """ScheduleEntry (contract §7.7)."""
    mission_id = base62(schedule.subject_id)
    shown: dict[str, Any] = {
        "id": f"sched-{mission_id}",
        "missionId": mission_id,
        "expression": schedule.expression,
        "recurring": schedule.recurring,
        "enabled": schedule.enabled,
        "createdAt": rfc3339(schedule.created_at),
    }
    times = {"lastRunAt": schedule.last_run_at, "nextRunAt": schedule.next_run_at}
    return shown | {name: rfc3339(time) for name, time in times.items() if time}


def checkpoint_json(barrier: Barrier) -> dict[str, Any]:
    return {
        "group": barrier.group,
        "missionId": base62(barrier.mission_id),
        "checkpointName": barrier.name,
        "checkpoint": barrier.spec,
        "reachedAt": rfc3339(barrier.since),
    }


def delay_json(barrier: Barrier) -> dict[str, Any]:
    return {
        "group": barrier.group,
        "missionId": base62(barrier.mission_id),
        "delayName": barrier.name,
        "delay": barrier.spec,
        "startedAt": rfc3339(barrier.since),
        "expiresAt": rfc3339(barrier.expires_at),
    }
