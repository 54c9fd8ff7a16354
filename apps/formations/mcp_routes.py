"""The tools by which an MCP client steers a formation (contract/muxi.md §5.9, `GET /mcp/tools`).

Six, fixed by the contract: each is one operation of the formation's API, and takes what that takes.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer", "minimum": 1}


def _tool(
    name: str, description: str, access: str, /, *required: str, **properties: dict[str, Any]
) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {
        "name": name,
        "description": description,
        "access": access,
        "parameters": parameters,
    }


TOOLS = (
    _tool("formation_list_agents", "List the agents of the formation.", "admin"),
    _tool(
        "formation_update_agent",
        "Change an agent: its name, description, instructions, models or MCP servers.",
        "admin",
        "agent_id",
        agent_id=_TEXT,
        name=_TEXT,
        description=_TEXT,
        system_message=_TEXT,
        active={"type": "boolean"},
        llm_models={"type": "array", "items": {"type": "object"}},
        mcp_servers={"type": "array", "items": _TEXT},
    ),
    _tool(
        "formation_manage_secrets",
        "List the secrets (masked), or set or delete one.",
        "admin",
        "action",
        action={"type": "string", "enum": ["list", "set", "delete"]},
        key=_TEXT,
        value=_TEXT,
    ),
    _tool(
        "chat",
        "Say something to the formation and get its answer.",
        "client",
        "message",
        message=_TEXT,
        user_id=_TEXT,
        session_id=_TEXT,
        agent_id=_TEXT,
    ),
    _tool(
        "get_memories",
        "List what the formation remembers of a user.",
        "client",
        user_id=_TEXT,
        limit={**_WHOLE, "maximum": 100},
    ),
    _tool(
        "create_memory",
        "Have the formation remember something of a user.",
        "client",
        "detail",
        user_id=_TEXT,
        type=_TEXT,
        detail=_TEXT,
    ),
)
