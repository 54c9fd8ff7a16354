"""Tools by which an agent remembers. Each agent has its own notes; `shared` ones belong to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call
from apps.core.clock import now
from apps.core.errors import DomainError
from apps.core.tools import Tool, ToolContext, ToolFailed, register
from apps.knowledge import selectors, services
from apps.knowledge.prompt import CONTEXT_KEY, PROJECT_KEY
from apps.workspaces.asking import orchestrator_tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor

_KEY = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_./ -]{0,119}$",
    "description": "Which note. Default: notes.",
}
_SHARED = {
    "type": "boolean",
    "description": "True: the notes that all agents of the workspace share. Default: your own.",
}


async def memory_read(context: ToolContext, arguments: dict[str, Any]) -> Any:
    agent_id = None if arguments.get("shared") else context.agent_id
    if "key" in arguments:
        key = arguments["key"]
        text = await _called(selectors.read_memory, context.actor, key, agent_id=agent_id)
        return {"key": key, "exists": text is not None, "content": text or ""}

    def keys() -> list[str]:
        found = selectors.list_memories(context.actor, agent_id=agent_id)
        return list(found.values_list("key", flat=True)[: services.MAX_KEYS])

    return {"keys": await _called(keys)}


async def memory_append(context: ToolContext, arguments: dict[str, Any]) -> Any:
    if arguments.get("shared") and arguments.get("key") == CONTEXT_KEY:
        raise ToolFailed("The standing instructions of all agents are not an agent's to change.")
    size = await _called(
        services.append_memory,
        context.actor,
        arguments["text"],
        key=arguments.get("key", "notes"),
        agent_id=None if arguments.get("shared") else context.agent_id,
    )
    return {"saved": True, "size": size, "limit": services.MAX_BYTES}


async def _called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return await db_call(function, *args, **kwargs)
    except DomainError as error:
        raise ToolFailed(error.message) from error


# --- The orchestrator's: what the project remembers (contract/polpo.md §9, §12) --------------------
def _get_memory(actor: Actor, _arguments: dict[str, Any]) -> str:
    return selectors.read_memory(actor, PROJECT_KEY) or "Nothing is remembered yet."


def _save_memory(actor: Actor, arguments: dict[str, Any]) -> str:
    size = services.write_memory(actor, arguments["content"], key=PROJECT_KEY)
    return f"Saved: the project's memory has {size} bytes."


def _append_memory(actor: Actor, arguments: dict[str, Any]) -> str:
    line = f"- {now():%Y-%m-%d}: {arguments['content']}"
    size = services.append_memory(actor, line, key=PROJECT_KEY)
    return f"Added: the project's memory has {size} bytes."


def _append_context(actor: Actor, arguments: dict[str, Any]) -> str:
    size = services.append_memory(actor, arguments["content"], key=CONTEXT_KEY)
    return f"Added: the standing instructions have {size} bytes."


def register_tools() -> None:
    for tool in (MEMORY_READ, MEMORY_APPEND, GET_MEMORY, SAVE_MEMORY, APPEND, APPEND_CONTEXT):
        register(tool)


MEMORY_READ = Tool(
    name="memory_read",
    description="Read a note you keep between conversations; without a key, list the keys.",
    parameters={
        "type": "object",
        "properties": {"key": _KEY, "shared": _SHARED},
        "additionalProperties": False,
    },
    call=memory_read,
    max_output=70_000,
)
MEMORY_APPEND = Tool(
    name="memory_append",
    description="Add a line to a note you keep between conversations.",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": services.MAX_BYTES},
            "key": _KEY,
            "shared": _SHARED,
        },
        "required": ["text"],
        "additionalProperties": False,
    },
    call=memory_append,
)
_TEXT = {"content": {"type": "string", "minLength": 1, "maxLength": services.MAX_BYTES}}
GET_MEMORY = orchestrator_tool(
    "get_memory",
    "What this project remembers, whole.",
    {},
    _get_memory,
    max_output=services.MAX_BYTES + 1_000,
)
SAVE_MEMORY = orchestrator_tool(
    "save_memory",
    "Replace the project's memory by this text. All agents read it.",
    {"content": {"type": "string", "maxLength": services.MAX_BYTES}},
    _save_memory,
    required=("content",),
)
APPEND = orchestrator_tool(
    "append_memory",
    "Add a dated line to the project's memory. All agents read it.",
    _TEXT,
    _append_memory,
    required=("content",),
)
APPEND_CONTEXT = orchestrator_tool(
    "append_system_context",
    "Add a standing instruction for all agents of this project.",
    _TEXT,
    _append_context,
    required=("content",),
)
