"""The orchestrator's tools on tasks (contract/polpo.md §12): each calls what the REST operation calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.ids import base62, parse_bare
from apps.core.tools import register
from apps.runs.selectors import list_work
from apps.tasks import selectors, services
from apps.tasks.errors import TaskNotFound
from apps.tasks.fields import MAX_TEXT, MAX_TITLE
from apps.tasks.models import TaskStatus
from apps.tasks.services.judging import reassess_task
from apps.tasks.wire import task_json
from apps.workspaces.asking import orchestrator_tool

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.tasks.models import Task

SHOWN = 200  # tasks in one answer
MOST_SEARCHED = 2_000

_ID = {"type": "string", "minLength": 1, "maxLength": 40, "description": "The task's id."}
_STATUS = {"enum": TaskStatus.values}
_GROUP = {"type": "string", "maxLength": 300}
_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_NAME = {"type": "string", "minLength": 1, "maxLength": 100, "description": "An agent's name."}
_EXPECTATIONS = {
    "type": "array",
    "maxItems": 50,
    "items": {"type": "object"},
    "description": "What the result is held against: {type: test|script, command}, "
    "{type: file_exists, paths}, {type: llm_review, criteria, threshold}.",
}


def task_line(task: Task) -> str:
    told = f"- {base62(task.pk)} [{task.status}] {task.title} ({task.assign_to})"
    return f"{told} in {task.group}" if task.group else told


def _get_status(actor: Actor, _arguments: dict[str, Any]) -> str:
    tasks = selectors.list_tasks(actor)
    counts = {status: sum(task.status == status for task in tasks) for status in TaskStatus.values}
    lines = [f"{status}: {count}" for status, count in counts.items() if count]
    lines += [f"{work.agent} is at work on {base62(work.task_id)}" for work in list_work(actor)]
    return "\n".join(lines) or "There are no tasks yet."


def _list_tasks(actor: Actor, arguments: dict[str, Any]) -> str:
    wanted = [arguments["status"]] if "status" in arguments else []
    tasks = selectors.list_tasks(
        actor,
        statuses=wanted,
        group=arguments.get("group"),
        assign_to=arguments.get("assignTo"),
        limit=SHOWN,
    )
    return "\n".join(map(task_line, tasks)) or "No such tasks."


def _get_task(actor: Actor, arguments: dict[str, Any]) -> str:
    task = _find(actor, arguments)
    judged = selectors.assessments_of(actor, [task.pk]) if task.result else {}
    return json.dumps(task_json(task, judged.get(task.pk, ())), ensure_ascii=False, indent=1)


def _find(actor: Actor, arguments: dict[str, Any]) -> Task:
    """By its id, else the newest whose title has these words in it."""
    if "id" in arguments:
        return selectors.get_task(actor, parse_bare(arguments["id"]))
    words = arguments.get("title", "").casefold()
    listed = selectors.list_tasks(actor, limit=MOST_SEARCHED) if words else []
    for task in reversed(listed):
        if words in task.title.casefold():
            return task
    raise TaskNotFound


def _create_task(actor: Actor, arguments: dict[str, Any]) -> str:
    task = services.create_task(
        actor,
        title=arguments["title"],
        description=arguments["description"],
        assign_to=arguments["assignTo"],
        depends_on=[parse_bare(text) for text in arguments.get("dependsOn", [])],
        group=arguments.get("group", ""),
        expectations=arguments.get("expectations", []),
        side_effects=arguments.get("sideEffects", False),
    )
    return f"Created the task {base62(task.pk)}: it is {task.status}."


_CHANGES = {
    "description": "description",
    "assignTo": "assign_to",
    "expectations": "expectations",
    "sideEffects": "side_effects",
}


def _update_task(actor: Actor, arguments: dict[str, Any]) -> str:
    changes = {ours: arguments[said] for said, ours in _CHANGES.items() if said in arguments}
    task = services.update_task(actor, parse_bare(arguments["taskId"]), **changes)
    return f"Updated the task {task.title}."


def _delete_task(actor: Actor, arguments: dict[str, Any]) -> str:
    services.remove_task(actor, parse_bare(arguments["taskId"]))
    return "Removed the task."


def _delete_tasks(actor: Actor, arguments: dict[str, Any]) -> str:
    wanted = [arguments["status"]] if "status" in arguments else []
    gone = services.remove_tasks(
        actor,
        statuses=wanted,
        group=arguments.get("group"),
        everything=arguments.get("all", False),
    )
    return f"Removed {gone} tasks."


def _retry_task(actor: Actor, arguments: dict[str, Any]) -> str:
    task = services.retry_task(actor, parse_bare(arguments["taskId"]))
    return f"{task.title} is tried again."


def _kill_task(actor: Actor, arguments: dict[str, Any]) -> str:
    task = services.kill_task(actor, parse_bare(arguments["taskId"]))
    return f"{task.title} is {task.status}."


def _force_fail_task(actor: Actor, arguments: dict[str, Any]) -> str:
    task = services.force_fail_task(actor, parse_bare(arguments["taskId"]))
    return f"{task.title} is {task.status}."


def _reassess_task(actor: Actor, arguments: dict[str, Any]) -> str:
    reassess_task(actor, parse_bare(arguments["taskId"]))
    return "The result is being judged again."


_BY_ID = {"taskId": _ID}
_NEW = {
    "title": {"type": "string", "minLength": 1, "maxLength": MAX_TITLE},
    "description": _TEXT,
    "assignTo": _NAME,
    "dependsOn": {"type": "array", "maxItems": 1_000, "items": _ID},
    "group": _GROUP,
    "expectations": _EXPECTATIONS,
    "sideEffects": {"type": "boolean"},
}
_OLD = {
    "taskId": _ID,
    "description": _TEXT,
    "assignTo": _NAME,
    "expectations": _EXPECTATIONS,
    "sideEffects": {"type": "boolean"},
}
TOOLS = (
    orchestrator_tool(
        "get_status", "How many tasks stand where, and who is at work.", {}, _get_status
    ),
    orchestrator_tool(
        "list_tasks",
        "Tasks of this project, oldest first.",
        {"status": _STATUS, "group": _GROUP, "assignTo": _NAME},
        _list_tasks,
    ),
    orchestrator_tool(
        "get_task",
        "One task with its result, by its id or a part of its title.",
        {"id": _ID, "title": {"type": "string", "maxLength": MAX_TITLE}},
        _get_task,
    ),
    orchestrator_tool(
        "create_task",
        "Give an agent a task. It starts as soon as what it depends on is done.",
        _NEW,
        _create_task,
        required=("title", "description", "assignTo"),
    ),
    orchestrator_tool(
        "update_task",
        "Change a task: only what is given is changed.",
        _OLD,
        _update_task,
        required=("taskId",),
    ),
    orchestrator_tool(
        "delete_task", "Stop and remove a task.", _BY_ID, _delete_task, required=("taskId",)
    ),
    orchestrator_tool(
        "delete_tasks",
        "Remove many tasks: of a status, of a group, or all.",
        {"status": _STATUS, "group": _GROUP, "all": {"type": "boolean"}},
        _delete_tasks,
    ),
    orchestrator_tool(
        "retry_task", "Try a failed task again.", _BY_ID, _retry_task, required=("taskId",)
    ),
    orchestrator_tool(
        "kill_task", "Stop a task: it fails at once.", _BY_ID, _kill_task, required=("taskId",)
    ),
    orchestrator_tool(
        "reassess_task",
        "Have a task's result judged again.",
        _BY_ID,
        _reassess_task,
        required=("taskId",),
    ),
    orchestrator_tool(
        "force_fail_task",
        "Give up on a task that cannot come to an end.",
        _BY_ID,
        _force_fail_task,
        required=("taskId",),
    ),
)


def register_tools() -> None:
    """Called in `ready()`."""
    for tool in TOOLS:
        register(tool)
