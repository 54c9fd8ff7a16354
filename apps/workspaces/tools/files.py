"""Tools on the workspace's own folder of files: read, write, edit, list.

Every path is walked below `DATA_DIR/workspaces/<id>/files` by `core/paths`, link by link refused; an
agent of one workspace cannot name a file of another. Sizes are bounded, work is done off the loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.core.paths import list_inside, mkdirs_inside, open_inside, parts_of
from apps.core.tools import Tool, ToolContext, ToolFailed
from apps.workspaces.files import check_room, files_root
from apps.workspaces.tools.arguments import (
    PATH,
    number_in,
    off_the_loop,
    path_in,
    text_in,
)

if TYPE_CHECKING:
    from pathlib import Path

MAX_WRITE = 1024 * 1024  # bytes of one file written
MAX_READ = 256 * 1024  # bytes of one answer
MAX_ENTRIES = 500


async def read_file(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Up to `MAX_READ` bytes of a text file from `offset`, and where to read on."""
    context.actor.need(Scope.READ)
    path = path_in(arguments)
    offset = number_in(arguments, "offset", 0, 0, 2**40)
    limit = number_in(arguments, "limit", MAX_READ, 1, MAX_READ)
    return await off_the_loop(_read, files_root(context.actor.workspace_id), path, offset, limit)


async def write_file(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace or append to a text file; folders on the way are made."""
    context.actor.need(Scope.WRITE)
    path, data = path_in(arguments), _bytes_of(text_in(arguments, "content"))
    root, append = files_root(context.actor.workspace_id), arguments.get("append") is True
    return await off_the_loop(_write, root, path, data, append)


async def edit_file(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace one place in a text file (contract/polpo.md §12.2), or with `replaceAll` every one."""
    context.actor.need(Scope.WRITE)
    path, old = path_in(arguments), text_in(arguments, "oldString")
    new, everywhere = text_in(arguments, "newString"), arguments.get("replaceAll") is True
    if not old or old == new:
        raise ToolFailed("oldString must not be empty, nor the same as newString.")
    change = (_bytes_of(old), _bytes_of(new))
    root = files_root(context.actor.workspace_id)
    return await off_the_loop(_edit, root, path, change, everywhere)


async def list_files(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """The names in a folder, folders first, at most `MAX_ENTRIES`."""
    context.actor.need(Scope.READ)
    path = text_in(arguments, "path", "")
    return await off_the_loop(_list, files_root(context.actor.workspace_id), path)


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
    check_room(root, len(data))
    mkdirs_inside(root, "/".join(names[:-1]))
    handle = open_inside(root, path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0))
    try:
        _put(handle, data, replace=not append)
        size = os.fstat(handle).st_size
    finally:
        os.close(handle)
    return {"path": path, "written": len(data), "size": size}


def _edit(root: Path, path: str, change: tuple[bytes, bytes], everywhere: bool) -> dict[str, Any]:  # noqa: FBT001
    handle = open_inside(root, path, os.O_RDWR)
    try:
        text = os.pread(handle, MAX_WRITE + 1, 0)
        places = _places(text, change[0], everywhere=everywhere)
        made = text.replace(*change)
        if len(made) > MAX_WRITE:
            raise ToolFailed(f"The file would be longer than {MAX_WRITE} bytes.")
        check_room(root, max(0, len(made) - len(text)))
        _put(handle, made, replace=True)
    finally:
        os.close(handle)
    return {"path": path, "replaced": places, "size": len(made)}


def _places(text: bytes, old: bytes, *, everywhere: bool) -> int:
    """How often `old` stands in `text`; ToolFailed when that is not what was meant."""
    if len(text) > MAX_WRITE:
        raise ToolFailed(f"The file is longer than {MAX_WRITE} bytes.")
    if b"\x00" in text:
        raise ToolFailed("This is not a text file.")
    places = text.count(old)
    if not places:
        raise ToolFailed("oldString is not in the file. Read it again: blanks count.")
    if places > 1 and not everywhere:
        raise ToolFailed(f"oldString stands {places} times in the file: give more of its lines.")
    return places


def _put(handle: int, data: bytes, *, replace: bool) -> None:
    if replace:
        os.ftruncate(handle, 0)  # not O_TRUNC: only a file that passed the checks is emptied
        os.lseek(handle, 0, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _bytes_of(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ToolFailed("The text holds characters that are none.") from None
    if len(data) > MAX_WRITE:
        raise ToolFailed(f"The text is {len(data)} bytes; at most {MAX_WRITE} fit in one file.")
    return data


def _list(root: Path, path: str) -> dict[str, Any]:
    found = list_inside(root, path)
    shown = [
        {"name": entry.name, "type": "folder" if entry.folder else "file", "size": entry.size}
        for entry in found[:MAX_ENTRIES]
    ]
    return {"path": path, "entries": shown, "more": max(0, len(found) - MAX_ENTRIES)}


READ_FILE = Tool(
    name="read_file",
    description="Read a text file of the workspace. Long files come in windows: go on at next_offset.",
    parameters={
        "type": "object",
        "properties": {
            "path": PATH,
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
            "path": PATH,
            "content": {"type": "string"},
            "append": {"type": "boolean"},
        },
        "required": ["path", "content"],
        "additionalProperties": False,
    },
    call=write_file,
    tags=frozenset({"files", "writes"}),
)
EDIT_FILE = Tool(
    name="edit_file",
    description="Replace text in a file of the workspace: oldString exactly as it stands there, once.",
    parameters={
        "type": "object",
        "properties": {
            "path": PATH,
            "oldString": {"type": "string"},
            "newString": {"type": "string"},
            "replaceAll": {"type": "boolean", "description": "Every place, not just one"},
        },
        "required": ["path", "oldString", "newString"],
        "additionalProperties": False,
    },
    call=edit_file,
    tags=frozenset({"files", "writes"}),
)
LIST_FILES = Tool(
    name="list_files",
    description="List the files and folders in a folder of the workspace.",
    parameters={
        "type": "object",
        "properties": {"path": {**PATH, "description": "Folder; empty for the top"}},
        "additionalProperties": False,
    },
    call=list_files,
    tags=frozenset({"files"}),
)
