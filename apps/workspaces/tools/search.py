"""Tools that look for files: by name, and by what stands in them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.core.folders import walk_inside
from apps.core.paths import open_folder_inside
from apps.core.tools import Tool, ToolContext, ToolFailed
from apps.workspaces import grep
from apps.workspaces.files import files_root
from apps.workspaces.names import Pattern
from apps.workspaces.tools.arguments import FOLDER, off_the_loop, text_in

if TYPE_CHECKING:
    from pathlib import Path

MAX_FOUND = 500
GREP_SECONDS = 10.0
LONGEST_PATTERN = 1_000  # characters


async def glob(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Paths of files that fit a pattern, below a folder, at most `MAX_FOUND`."""
    context.actor.need(Scope.READ)
    pattern, path = _pattern_in(arguments), text_in(arguments, "path", "")
    return await off_the_loop(_glob, files_root(context.actor.workspace_id), path, pattern)


def _glob(root: Path, path: str, pattern: str) -> dict[str, Any]:
    wanted, above = Pattern(pattern), path.strip("/")
    found: list[str] = []
    for entry in walk_inside(root, path):
        if entry.is_file and wanted.fits(entry.path):
            found.append(f"{above}/{entry.path}" if above else entry.path)
        if len(found) > MAX_FOUND:
            break
    return {"paths": found[:MAX_FOUND], "more": len(found) > MAX_FOUND}


async def grep_files(context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Lines that fit a regular expression, in a process that is ended after `GREP_SECONDS`.

    A pattern may take for ever, and Python's `re` holds the interpreter's lock while it does.
    """
    context.actor.need(Scope.READ)
    pattern, path = _pattern_in(arguments), text_in(arguments, "path", "")
    include = _checked("include", text_in(arguments, "include", ""))
    root = files_root(context.actor.workspace_id)
    await off_the_loop(_check_folder, root, path)
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(GREP_SECONDS):
            await _grep([str(root), path, pattern, include], found)
    except TimeoutError:
        return _matches(found, stopped=True)
    return _matches(found, stopped=False)


def _check_folder(root: Path, path: str) -> dict[str, Any]:
    os.close(open_folder_inside(root, path))
    return {}


async def _grep(arguments: list[str], found: list[dict[str, Any]]) -> None:
    """Fill `found` with what the process tells, line by line; cancelled, end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", grep.__file__),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            found.append(json.loads(line))  # noqa: PERF401  (what came before the end counts)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _matches(found: list[dict[str, Any]], *, stopped: bool) -> dict[str, Any]:
    if found and "error" in found[-1]:
        raise ToolFailed(f"The pattern is not a regular expression: {found[-1]['error']}.")
    answer: dict[str, Any] = {"matches": found[: grep.MOST], "more": len(found) > grep.MOST}
    if stopped:
        words = (
            f"It was stopped after {GREP_SECONDS:g} seconds: simplify the pattern or narrow path."
        )
        answer["stopped"] = words
    return answer


def _pattern_in(arguments: dict[str, Any]) -> str:
    return _checked("pattern", text_in(arguments, "pattern"))


def _checked(name: str, text: str) -> str:
    """Text that can stand in a command line."""
    if name == "pattern" and not text:
        raise ToolFailed("pattern must not be empty.")
    if (
        len(text) > LONGEST_PATTERN
        or "\0" in text
        or text != text.encode("utf-8", "replace").decode()
    ):
        raise ToolFailed(f"{name} must be at most {LONGEST_PATTERN} characters of text.")
    return text


GLOB = Tool(
    name="glob",
    description="Find files by their path: *.py at the top, **/*.py at any depth, src/**/test_?.py.",
    parameters={
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "path": FOLDER},
        "required": ["pattern"],
        "additionalProperties": False,
    },
    call=glob,
    tags=frozenset({"files"}),
)
GREP_FILES = Tool(
    name="grep_files",
    description="Find lines by a regular expression (Python's), in files whose name fits `include`.",
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "path": FOLDER,
            "include": {"type": "string", "description": "Names or paths, such as *.py or src/**"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
    call=grep_files,
    timeout=GREP_SECONDS + 20.0,
    tags=frozenset({"files"}),
)
