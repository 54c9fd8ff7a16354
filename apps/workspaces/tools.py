"""Tools on the workspace's own folder of files (read, write, list), and on its settings.

Every path is walked below `DATA_DIR/workspaces/<id>/files` by `core/paths`, link by link refused; an
agent of one workspace cannot name a file of another. Sizes are bounded, work is done off the loop.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.actor import Scope
from apps.core.errors import DomainError, NotFound
from apps.core.paths import list_inside, mkdirs_inside, open_inside, parts_of
from apps.core.tools import Tool, ToolContext, ToolFailed, register
from apps.workspaces.asking import orchestrator_tool
from apps.workspaces.selectors import get_workspace, read_preferences

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from apps.core.actor import Actor

MAX_WRITE = 1024 * 1024  # bytes of one file written
MAX_READ = 256 * 1024  # bytes of one answer
MAX_ENTRIES = 500
MAX_FILES = 10_000  # in one workspace
MAX_STORED = 256 * 1024 * 1024  # bytes in one workspace


def files_root(workspace_id: UUID) -> Path:
    """The workspace's folder, made when it is not there."""
    root = Path(settings.DATA_DIR) / "workspaces" / str(workspace_id) / "files"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


async def read_file(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Up to `MAX_READ` bytes of a text file from `offset`, and where to read on."""
    context.actor.need(Scope.READ)
    path = _path(arguments)
    offset = _number(arguments, "offset", 0, 0, 2**40)
    limit = _number(arguments, "limit", MAX_READ, 1, MAX_READ)
    return await _off_the_loop(_read, files_root(context.actor.workspace_id), path, offset, limit)


async def write_file(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace or append to a text file; folders on the way are made."""
    context.actor.need(Scope.WRITE)
    path, content = _path(arguments), arguments.get("content")
    if not isinstance(content, str):
        raise ToolFailed("content must be text.")
    try:
        data = content.encode()
    except UnicodeEncodeError:
        raise ToolFailed("content holds characters that are no text.") from None
    if len(data) > MAX_WRITE:
        raise ToolFailed(f"content is {len(data)} bytes; at most {MAX_WRITE} fit in one write.")
    root, append = files_root(context.actor.workspace_id), arguments.get("append") is True
    return await _off_the_loop(_write, root, path, data, append)


async def list_files(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """The names in a folder, folders first, at most `MAX_ENTRIES`."""
    context.actor.need(Scope.READ)
    path = arguments.get("path") or ""
    if not isinstance(path, str):
        raise ToolFailed("path must be text.")
    return await _off_the_loop(_list, files_root(context.actor.workspace_id), path)


async def _off_the_loop(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Run blocking file work on a thread; say what went wrong in words for the model."""
    try:
        return await asyncio.to_thread(work, *given)
    except NotFound:
        raise ToolFailed("There is no such file or folder.") from None
    except DomainError as refused:
        raise ToolFailed(refused.message) from None
    except OSError as failed:
        raise ToolFailed(f"The file system refused: {failed.strerror}.") from None


def _read(root: Path, path: str, offset: int, limit: int) -> dict[str, Any]:
    handle = open_inside(root, path)
    try:
        size = os.fstat(handle).st_size
        data = os.pread(handle, limit, offset)
    finally:
        os.close(handle)
    if b"\x00" in data:
        raise ToolFailed("This is not a text file.")
    end = offset + len(data)
    return {
        "path": path,
        "content": data.decode("utf-8", "replace"),
        "size": size,
        "next_offset": end if end < size else None,
    }


def _write(root: Path, path: str, data: bytes, append: bool) -> dict[str, Any]:  # noqa: FBT001
    names = parts_of(path)
    if not names:
        raise ToolFailed("path must name a file.")
    _check_room(root, len(data))
    mkdirs_inside(root, "/".join(names[:-1]))
    handle = open_inside(root, path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0))
    try:
        if not append:
            os.ftruncate(handle, 0)  # not O_TRUNC: only a file that passed the checks is emptied
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        size = os.fstat(handle).st_size
    finally:
        os.close(handle)
    return {"path": path, "written": len(data), "size": size}


def _list(root: Path, path: str) -> dict[str, Any]:
    found = list_inside(root, path)
    shown = [
        {"name": entry.name, "type": "folder" if entry.folder else "file", "size": entry.size}
        for entry in found[:MAX_ENTRIES]
    ]
    return {"path": path, "entries": shown, "more": max(0, len(found) - MAX_ENTRIES)}


def _check_room(root: Path, more: int) -> None:
    count, stored = 0, more
    for folder, _, names in os.walk(root):
        count += len(names)
        stored += sum(os.lstat(Path(folder, name)).st_size for name in names)
        if count >= MAX_FILES or stored > MAX_STORED:
            raise ToolFailed("The workspace's folder is full. Nothing was written.")


def _path(arguments: dict[str, Any]) -> str:
    path = arguments.get("path")
    if not isinstance(path, str) or not path:
        raise ToolFailed("path must be text.")
    return path


def _number(arguments: dict[str, Any], name: str, usual: int, low: int, high: int) -> int:
    value = arguments.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ToolFailed(f"{name} must be a whole number from {low} to {high}.")
    return value


_PATH = {"type": "string", "description": "Path inside the workspace, such as notes/today.md"}


READ_FILE = Tool(
    name="read_file",
    description="Read a text file of the workspace. Long files come in windows: go on at next_offset.",
    parameters={
        "type": "object",
        "properties": {
            "path": _PATH,
            "offset": {"type": "integer", "minimum": 0, "description": "First byte"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_READ},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    call=read_file,
    max_output=MAX_READ + 1024,
    tags=frozenset({"files"}),
)
WRITE_FILE = Tool(
    name="write_file",
    description="Write a text file of the workspace, or append to it. Folders are made.",
    parameters={
        "type": "object",
        "properties": {
            "path": _PATH,
            "content": {"type": "string"},
            "append": {"type": "boolean"},
        },
        "required": ["path", "content"],
        "additionalProperties": False,
    },
    call=write_file,
    tags=frozenset({"files", "writes"}),
)
LIST_FILES = Tool(
    name="list_files",
    description="List the files and folders in a folder of the workspace.",
    parameters={
        "type": "object",
        "properties": {"path": {**_PATH, "description": "Folder; empty for the top"}},
        "additionalProperties": False,
    },
    call=list_files,
    tags=frozenset({"files"}),
)


def _get_config(actor: Actor, _arguments: dict[str, Any]) -> str:
    """Preferences hold no secrets: those are sealed elsewhere."""
    workspace = get_workspace(actor)
    chosen = asdict(read_preferences(workspace.settings))
    config = {"project": workspace.slug, "name": workspace.name, "settings": chosen}
    return json.dumps(config, indent=2, ensure_ascii=False)


GET_CONFIG = orchestrator_tool(
    "get_config", "The project's name and settings, as JSON.", {}, _get_config, max_output=40_000
)


def register_tools() -> None:
    """Called in `ready()`."""
    for tool in (READ_FILE, WRITE_FILE, LIST_FILES, GET_CONFIG):
        register(tool)
