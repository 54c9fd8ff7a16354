"""Tools by which an agent remembers. Each agent has its own notes; `shared` ones belong to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.core.tools import Tool, ToolContext, ToolFailed, register
from apps.knowledge import selectors, services

if TYPE_CHECKING:
    from collections.abc import Callable

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


def register_tools() -> None:
    register(MEMORY_READ)
    register(MEMORY_APPEND)


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
