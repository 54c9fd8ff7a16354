"""How facts about missions sound on polpo's streams (contract/polpo.md §15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.events.words import bare, in_camel_case, speak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.events.words import Shape

BARRIERS = {
    "checkpoint.reached": ("checkpoint:reached", "checkpointName"),
    "checkpoint.resumed": ("checkpoint:resumed", "checkpointName"),
    "delay.started": ("delay:started", "delayName"),
    "delay.expired": ("delay:expired", "delayName"),
    "quality.gate_passed": ("quality:gate:passed", "gateName"),
    "quality.gate_failed": ("quality:gate:failed", "gateName"),
}
NAMED = {"mission.saved": "mission:saved", "mission.resumed": "mission:resumed"}
PLAIN = {
    "mission.executed": "mission:executed",
    "mission.completed": "mission:completed",
    "mission.aborted": "mission:aborted",
    "mission.deleted": "mission:deleted",
    "quality.threshold_missed": "quality:threshold:failed",
    "deadlock.thought_over": "deadlock:resolving",
    "deadlock.resolved": "deadlock:resolved",
    "deadlock.unresolvable": "deadlock:unresolvable",
}
MANY = {
    "deadlock.detected": "deadlock:detected",
    "orchestrator.deadlocked": "orchestrator:deadlock",
}


def register_words() -> None:
    for fact, event in PLAIN.items():
        speak("polpo", fact, event)
    for fact, event in NAMED.items():
        speak("polpo", fact, event, _named)
    for fact, event in MANY.items():
        speak("polpo", fact, event, _of_tasks)
    for fact, (event, name) in BARRIERS.items():
        speak("polpo", fact, event, _barrier(name))


def _named(payload: Mapping[str, Any]) -> dict[str, Any]:
    told = in_camel_case(payload)
    told["name"] = told.pop("missionName")
    return told


def _of_tasks(payload: Mapping[str, Any]) -> dict[str, Any]:
    told = in_camel_case({name: payload[name] for name in payload if name != "task_ids"})
    return told | {"taskIds": [bare(task_id) for task_id in payload["task_ids"]]}


def _barrier(name: str) -> Shape:
    def shape(payload: Mapping[str, Any]) -> dict[str, Any]:
        told = in_camel_case(payload)
        told[name] = told.pop("barrier")
        return {key: value for key, value in told.items() if value != ""}

    return shape
