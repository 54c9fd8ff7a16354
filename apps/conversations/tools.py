"""What the orchestrator hands to the client of a chat, and the reloading of its settings.

Each of the first kind ends the turn; the client does what it is asked, or lets its user decide, and goes
on with an ordinary message (contract/polpo.md §11).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.core.tools import ORCHESTRATOR, HandOver, Tool, ToolContext, ToolFailed, register
from apps.formations.selectors import find_agent
from apps.formations.services import forget_policy
from apps.knowledge.selectors import forget_context
from apps.workspaces.asking import as_asker, orchestrator_tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor

    MissionCheck = Callable[[Actor, dict[str, Any]], None]

LONGEST_PATH = 1_000
LARGEST_DOCUMENT = 256 * 1024  # bytes of a mission's JSON
VAULT_TYPES = ("smtp", "imap", "oauth", "api_key", "login", "custom")

_checks: list[MissionCheck] = []


def check_missions_with(check: MissionCheck) -> None:
    """Have `check(actor, document)` run before a mission is shown; it raises a DomainError in words."""
    if check not in _checks:
        _checks.append(check)


def _with_rights(
    run: Callable[[Actor, dict[str, Any]], None],
) -> Callable[[ToolContext, dict[str, Any]], Any]:
    """The arguments as the payload, once `run(actor, arguments)` has looked at them."""

    def looked_at(actor: Actor, arguments: dict[str, Any]) -> str:
        actor.need(Scope.WRITE)  # the client could not do it with less
        run(actor, arguments)
        return ""

    async def payload(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        await as_asker(context, looked_at, arguments)
        return arguments

    return payload


async def _as_given(_context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


def _check_mission(actor: Actor, arguments: dict[str, Any]) -> None:
    if len(json.dumps(arguments["data"])) > LARGEST_DOCUMENT:
        raise ToolFailed(f"A mission has at most {LARGEST_DOCUMENT} bytes.")
    for check in _checks:
        check(actor, arguments["data"])


def _check_entry(actor: Actor, arguments: dict[str, Any]) -> None:
    find_agent(actor, arguments["agent"])


async def _only_in_chat(_context: ToolContext, _arguments: dict[str, Any]) -> Any:
    raise ToolFailed("This conversation cannot show that.")


def _handing(
    name: str,
    description: str,
    properties: dict[str, Any],
    *,
    required: tuple[str, ...],
    over: HandOver,
    private: bool = False,
) -> Tool:
    return Tool(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        },
        call=_only_in_chat,
        interactive=True,
        tags=frozenset({ORCHESTRATOR}),
        hand_over=over,
        private=private,
    )


def _text(longest: int, description: str = "", **more: Any) -> dict[str, Any]:
    told = {"description": description} if description else {}
    return {"type": "string", "minLength": 1, "maxLength": longest, **told, **more}


CREATE_MISSION = _handing(
    "create_mission",
    "Show the person a mission to look at: tasks that depend on one another. They save and start it.",
    {
        "name": _text(200),
        "data": {
            "type": "object",
            "description": "The document: tasks [{title, description, assignTo, dependsOn}], and, if "
            "needed, team, qualityGates, checkpoints, delays.",
        },
        "prompt": _text(20_000, "What the person asked for."),
    },
    required=("name", "data"),
    over=HandOver("mission_preview", _with_rights(_check_mission)),
)
SET_VAULT_ENTRY = _handing(
    "set_vault_entry",
    "Let the person save credentials for an agent.",
    {
        "agent": _text(100),
        "service": _text(100),
        "type": {"enum": list(VAULT_TYPES)},
        "label": _text(200),
        "credentials": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    required=("agent", "service", "type", "credentials"),
    over=HandOver("vault_preview", _with_rights(_check_entry)),
    private=True,
)
OPEN_FILE = _handing(
    "open_file",
    "Open a file of the project for the person.",
    {"path": _text(LONGEST_PATH)},
    required=("path",),
    over=HandOver("open_file", _as_given),
)
NAVIGATE_TO = _handing(
    "navigate_to",
    "Take the person to a page of the dashboard, such as tasks, missions or agents.",
    {
        "target": _text(100),
        "id": _text(100),
        "name": _text(200),
        "path": _text(LONGEST_PATH),
        "highlight": _text(200),
    },
    required=("target",),
    over=HandOver("navigate_to", _as_given),
)
OPEN_TAB = _handing(
    "open_tab",
    "Open a web page for the person.",
    {"url": _text(2_000, pattern="^https?://"), "label": _text(200)},
    required=("url",),
    over=HandOver("open_tab", _as_given),
)


# --- Settings -----------------------------------------------------------------------------------
def _forget_all(actor: Actor, _arguments: dict[str, Any]) -> str:
    from apps.conversations.targets import forget_setups

    actor.need(Scope.READ)
    forget_setups()
    forget_policy(actor.workspace_id)
    forget_context(actor.workspace_id)
    return "Settings, agents, tools and memory are read anew from the next turn on."


RELOAD_CONFIG = orchestrator_tool(
    "reload_config", "Read the project's settings anew.", {}, _forget_all
)


def register_tools() -> None:
    """Called in `ready()`."""
    for tool in (
        CREATE_MISSION,
        SET_VAULT_ENTRY,
        OPEN_FILE,
        NAVIGATE_TO,
        OPEN_TAB,
        RELOAD_CONFIG,
    ):
        register(tool)
