"""The registry of tools an agent may be given. Each app registers its own in its `tools.py`.

A tool is a name, a JSON schema for its arguments and an async function. It sees the actor it acts
for (the engine's hands in one workspace), never a raw database handle of another tenant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from uuid import UUID

    from apps.core.actor import Actor


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Whose hands, and for which call. `key` is the same for a repeat of the same call.

    `token_id` is the credential of the one who asked for this turn (`actor.user_id` is the person):
    what a tool may do in their name is read anew from it, see `workspaces.asking`. `end_user`: for whom,
    where a formation's application asks.
    """

    actor: Actor
    run_id: UUID
    session_id: UUID | None
    agent_id: UUID | None
    key: str
    token_id: UUID | None = None
    end_user: str = ""


ORCHESTRATOR = "orchestrator"  # the tag of tools for the workspace's default agent only


@dataclass(frozen=True, slots=True)
class HandOver:
    """A tool that ends the turn and hands the caller of the chat something to do or to answer.

    `reason` is the finish reason and names the payload (contract/polpo.md §11); `payload` makes it
    from the arguments and raises `ToolFailed` where they make no sense. `words` says it in text, for
    clients that know nothing of this. `parameters`: where they differ from the tool's own. `only`:
    there is no other way, so the tool is not offered where nobody could take the payload.
    """

    reason: str
    payload: Callable[[ToolContext, dict[str, Any]], Awaitable[dict[str, Any]]]
    words: Callable[[dict[str, Any]], str] | None = None
    parameters: dict[str, Any] | None = None
    only: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    `parameters` is a JSON schema object. `call` returns JSON-ready data or text and raises
    `ToolFailed` with words for the model. `timeout` seconds; `max_output` characters.
    `interactive` tools end the turn as `waiting` (ask_user, request_approval); with a `hand_over` they
    end it for good where the caller takes the payload. `private`: the arguments hold a secret, which
    is kept out of the journal.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    call: Callable[[ToolContext, dict[str, Any]], Awaitable[Any]]
    timeout: float = 30.0
    max_output: int = 20_000
    enabled_by_default: bool = True
    needs_approval: bool = False
    interactive: bool = False
    tags: frozenset[str] = field(default_factory=frozenset)
    hand_over: HandOver | None = None
    private: bool = False


class ToolFailed(Exception):
    """The tool could not do it; the text goes to the model as an error result."""


class WaitForHuman(Exception):
    """Raised by an interactive tool: the run rests until the approval with this id is decided."""

    def __init__(self, approval_id: UUID) -> None:
        self.approval_id = approval_id
        super().__init__(str(approval_id))


# What other products' agents call our tools (contract/polpo.md §8 and §12.2).
_ALIASES = {
    "read": "read_file",
    "write": "write_file",
    "edit": "edit_file",
    "ls": "list_files",
    "list_directory": "list_files",
    "bash": "run_command",
    "grep": "grep_files",
}

_registry: dict[str, Tool] = {}


def register(tool: Tool) -> Tool:
    """Add `tool`; a second registration of the same name is a programming error."""
    if tool.name in _registry and _registry[tool.name] is not tool:
        raise ValueError(f"tool {tool.name!r} is registered twice")
    _registry[tool.name] = tool
    return tool


def registered() -> Collection[Tool]:
    return _registry.values()


def find(name: str) -> Tool | None:
    return _registry.get(name)


def canonical_tool(name: str) -> str:
    """Our name of a tool that an agent may know by another one; any other text unchanged."""
    return _ALIASES.get(name, name)
