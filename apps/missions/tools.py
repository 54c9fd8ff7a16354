"""The orchestrator's tools on missions (contract/polpo.md §12).

`create_mission` is not here: it shows the mission to the person, who saves it (`conversations.tools`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.ids import base62, parse_bare
from apps.core.tools import register
from apps.missions import selectors, services
from apps.missions.drafts import read_document
from apps.missions.models import MissionStatus
from apps.missions.wire import mission_json
from apps.tasks.orchestrator import task_line
from apps.tasks.selectors import tasks_of_mission
from apps.workspaces.asking import orchestrator_tool

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.missions.models import Mission

_ID = {"type": "string", "minLength": 1, "maxLength": 40, "description": "The mission's id."}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_BY_ID = {"missionId": _ID}


def check_document(_actor: Actor, document: dict[str, Any]) -> None:
    """Before a mission is shown to a person: MissionInvalid in words for the model."""
    read_document(document)


def _line(mission: Mission) -> str:
    return f"- {base62(mission.pk)} [{mission.status}] {mission.name}"


def _list_missions(actor: Actor, arguments: dict[str, Any]) -> str:
    rows = selectors.list_missions(actor, status=arguments.get("status"))
    return "\n".join(map(_line, rows[:200])) or "There are no missions."


def _get_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    if "id" in arguments:
        mission = selectors.get_mission(actor, parse_bare(arguments["id"]))
    else:
        mission = selectors.find_mission(actor, arguments.get("name", ""))
    tasks = tasks_of_mission(actor, mission.pk, group=mission.group) if mission.group else []
    told = json.dumps(mission_json(mission), ensure_ascii=False, indent=1)
    return "\n".join([told, *map(task_line, tasks)])


def _update_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    changes = {name: arguments[name] for name in ("name", "data", "status") if name in arguments}
    mission = services.update_mission(actor, parse_bare(arguments["missionId"]), **changes)
    return f"Updated the mission {mission.name}: it is {mission.status}."


def _execute_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    tasks, group = services.execute_mission(actor, parse_bare(arguments["missionId"]))
    return "\n".join([f"Started {group} with {len(tasks)} tasks:", *map(task_line, tasks)])


def _resume_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    retried, pending = services.resume_mission(
        actor,
        parse_bare(arguments["missionId"]),
        retry_failed=arguments.get("retryFailed", False),
    )
    return f"Resumed: {retried} failed tasks are tried again, {pending} were pending."


def _abort_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    killed = services.abort_mission(actor, parse_bare(arguments["missionId"]))
    return f"Aborted: {killed} tasks were stopped."


def _delete_mission(actor: Actor, arguments: dict[str, Any]) -> str:
    gone = services.delete_mission(actor, parse_bare(arguments["missionId"]))
    return f"Removed the mission with {gone} tasks."


def _list_checkpoints(actor: Actor, _arguments: dict[str, Any]) -> str:
    waiting = selectors.checkpoints_waiting(actor)
    lines = [f"- {base62(row.mission_id)} {row.name} in {row.group}" for row in waiting]
    return "\n".join(lines) or "No checkpoint waits."


def _resume_checkpoint(actor: Actor, arguments: dict[str, Any]) -> str:
    mission_id = parse_bare(arguments["missionId"])
    services.resume_checkpoint(actor, mission_id, arguments["checkpointName"])
    return "The mission goes on."


TOOLS = (
    orchestrator_tool(
        "list_missions",
        "Missions of this project, newest first.",
        {"status": {"enum": MissionStatus.values}},
        _list_missions,
    ),
    orchestrator_tool(
        "get_mission",
        "One mission with its document and its tasks, by its id or its name.",
        {"id": _ID, "name": _NAME},
        _get_mission,
    ),
    orchestrator_tool(
        "update_mission",
        "Change a mission's name, document (JSON text) or status.",
        {
            "missionId": _ID,
            "name": _NAME,
            "data": {"type": "string", "minLength": 2},
            "status": {"enum": MissionStatus.values},
        },
        _update_mission,
        required=("missionId",),
    ),
    orchestrator_tool(
        "execute_mission", "Start a mission.", _BY_ID, _execute_mission, required=("missionId",)
    ),
    orchestrator_tool(
        "resume_mission",
        "Take a paused or failed mission up again.",
        {"missionId": _ID, "retryFailed": {"type": "boolean"}},
        _resume_mission,
        required=("missionId",),
    ),
    orchestrator_tool(
        "abort_mission",
        "Call a mission off: its tasks are stopped.",
        _BY_ID,
        _abort_mission,
        required=("missionId",),
    ),
    orchestrator_tool(
        "delete_mission",
        "Remove a mission and its tasks.",
        _BY_ID,
        _delete_mission,
        required=("missionId",),
    ),
    orchestrator_tool(
        "list_checkpoints", "Checkpoints that wait for a person.", {}, _list_checkpoints
    ),
    orchestrator_tool(
        "resume_checkpoint",
        "Let a mission pass a checkpoint.",
        {"missionId": _ID, "checkpointName": _NAME},
        _resume_checkpoint,
        required=("missionId", "checkpointName"),
    ),
)


def register_tools() -> None:
    """Called in `ready()`."""
    for tool in TOOLS:
        register(tool)
