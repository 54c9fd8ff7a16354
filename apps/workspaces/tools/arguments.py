"""Reading what a model sent, and answering it in words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from apps.core.errors import DomainError, NotFound
from apps.core.tools import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = {"type": "string", "description": "Path inside the workspace, such as notes/today.md"}
FOLDER = {"type": "string", "description": "Folder inside the workspace; empty for the top"}


def path_in(arguments: dict[str, Any]) -> str:
    path = arguments.get("path")
    if not isinstance(path, str) or not path:
        raise ToolFailed("path must be text.")
    return path


def text_in(arguments: dict[str, Any], name: str, usual: str | None = None) -> str:
    value = arguments.get(name)
    value = usual if value is None else value
    if not isinstance(value, str):
        raise ToolFailed(f"{name} must be text.")
    return value


def number_in(arguments: dict[str, Any], name: str, usual: int, low: int, high: int) -> int:
    value = arguments.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ToolFailed(f"{name} must be a whole number from {low} to {high}.")
    return value


async def off_the_loop(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Run blocking file work on a thread; say what went wrong in words for the model."""
    try:
        return await asyncio.to_thread(work, *given)
    except NotFound:
        raise ToolFailed("There is no such file or folder.") from None
    except DomainError as refused:
        raise ToolFailed(refused.message) from None
    except OSError as failed:
        raise ToolFailed(f"The file system refused: {failed.strerror}.") from None
