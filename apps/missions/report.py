"""MissionReport, as the wire has it (contract/polpo.md §7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.ids import base62

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from apps.missions.models import Mission
    from apps.tasks.models import Task

Touched = tuple[list[str], list[str]]  # files created, files edited
MOST_FILES = 500


def mission_report(
    mission: Mission,
    tasks: Sequence[Task],
    scores: Mapping[UUID, float],
    touched: Mapping[UUID, Touched],
    *,
    all_passed: bool,
    avg_score: float | None,
) -> dict[str, Any]:
    """`scores` by task id, `touched` by run id; durations in ms."""
    entries = [_entry(task, scores.get(task.pk), _touched(task, touched)) for task in tasks]
    report: dict[str, Any] = {
        "missionId": base62(mission.pk),
        "group": mission.group,
        "allPassed": all_passed,
        "totalDuration": _duration(mission),
        "tasks": entries,
        "filesCreated": _all(entries, "filesCreated"),
        "filesEdited": _all(entries, "filesEdited"),
    }
    outcomes = [outcome for task in tasks for outcome in task.outcomes]
    if outcomes:
        report["outcomes"] = outcomes
    if avg_score is not None:
        report["avgScore"] = avg_score
    return report


def _entry(task: Task, score: float | None, touched: Touched) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "title": task.title,
        "status": task.status,
        "duration": (task.result or {}).get("duration", 0),
        "filesCreated": touched[0],
        "filesEdited": touched[1],
    }
    if score is not None:
        entry["score"] = score
    if task.outcomes:
        entry["outcomes"] = task.outcomes
    return entry


def _touched(task: Task, touched: Mapping[UUID, Touched]) -> Touched:
    return touched.get(task.run_id, ([], [])) if task.run_id else ([], [])


def _all(entries: Sequence[dict[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry[key]))[:MOST_FILES]


def _duration(mission: Mission) -> int:
    if mission.started_at is None or mission.finished_at is None:
        return 0
    return round((mission.finished_at - mission.started_at).total_seconds() * 1000)
