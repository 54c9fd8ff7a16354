"""The tool that runs a command in the workspace's folder, shut in by `core/sandbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core import sandbox
from apps.core.actor import Scope
from apps.core.errors import DomainError, NotFound
from apps.core.tools import Tool, ToolContext, ToolFailed
from apps.workspaces import files
from apps.workspaces.tools.arguments import FOLDER, number_in, text_in

if TYPE_CHECKING:
    from apps.core.sandbox import CommandResult

SECONDS, MOST_SECONDS = 30, 600  # 30: contract/polpo.md §12.2
MOST_PRINTED = 4 * 1024 * 1024  # bytes of each stream before the command is ended
FIRST_SHOWN, LAST_SHOWN = 3_000, 6_000  # characters of each stream that the model sees

_STOPPED = {
    "time": "It was stopped: it took longer than {seconds} seconds.",
    "output": "It was stopped: it printed too much.",
    "memory": "It was stopped: it used too much memory.",
    "disk": "It used more room than the workspace's folder has. Delete what is not needed.",
    "file_size": "It was stopped: it made too large a file.",
}


async def run_command(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one command for the agent. A command that fails is an answer, not a failure of the tool."""
    context.actor.need(Scope.WRITE)
    command, folder = text_in(arguments, "command"), text_in(arguments, "cwd", "")
    seconds = number_in(arguments, "timeout", SECONDS, 1, MOST_SECONDS)
    if not command.strip():
        raise ToolFailed("command must not be empty.")
    try:
        result = await sandbox.run_command(
            files.files_root(context.actor.workspace_id),
            command,
            seconds=seconds,
            cwd=folder,
            output=MOST_PRINTED,
            disk=files.MAX_STORED,
            names=files.MAX_FILES,
        )
    except NotFound:
        raise ToolFailed("There is no such folder.") from None
    except DomainError as refused:
        raise ToolFailed(refused.message) from None
    return _told(result, seconds)


def _told(result: CommandResult, seconds: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "exit_code": result.exit_code,
        "stdout": _shown(result.stdout),
        "stderr": _shown(result.stderr),
    }
    if result.killed_for:
        told["stopped"] = _STOPPED[result.killed_for].format(seconds=seconds)
    return told


def _shown(text: str) -> str:
    """The beginning and the end: what was asked, and how it went."""
    left_out = len(text) - FIRST_SHOWN - LAST_SHOWN
    if left_out <= 0:
        return text
    return f"{text[:FIRST_SHOWN]}\n[{left_out} characters left out]\n{text[-LAST_SHOWN:]}"


RUN_COMMAND = Tool(
    name="run_command",
    description=(
        "Run a command line with bash in the workspace's folder (/workspace). There is no network, "
        "and nothing of it runs on when it ends. For long output write to a file and read that."
    ),
    parameters={
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "cwd": FOLDER,
            "timeout": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_SECONDS,
                "description": f"Seconds; {SECONDS} when not given",
            },
        },
        "required": ["command"],
        "additionalProperties": False,
    },
    call=run_command,
    timeout=MOST_SECONDS + 30.0,
    max_output=2 * (FIRST_SHOWN + LAST_SHOWN) + 2_000,
    enabled_by_default=False,
    tags=frozenset({"files", "writes", "commands"}),
)
