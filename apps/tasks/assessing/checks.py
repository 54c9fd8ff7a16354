"""Checks a machine can make: commands, files, metrics (contract/polpo.md §6.1).

Each answers a CheckResult or MetricResult (§6.4) and never raises for what it finds.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.errors import DomainError, NotFound
from apps.core.paths import PathRefused, open_folder_inside, open_inside
from apps.core.sandbox import as_script, run_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from apps.core.sandbox import CommandResult

MOST_PRINTED = 5 * 1024 * 1024  # bytes of each stream; whoever prints more is ended, and has failed
LONGEST_DETAILS = 2_000  # characters of what a failed command printed
LONGEST_LABEL = 120
ESTIMATED_BY_DEFAULT = "file_exists"


def label_of(expectation: Mapping[str, Any]) -> str:
    """What a check is called in the stream of events."""
    kind = expectation.get("type")
    if kind == "file_exists":
        text = ", ".join(map(str, expectation.get("paths") or ()))
    elif kind == "llm_review":
        names = [str(item.get("name", "")) for item in expectation.get("dimensions") or ()]
        text = expectation.get("criteria") or ", ".join(names)
    else:
        text = expectation.get("command") or ""
    return " ".join(str(text).split())[:LONGEST_LABEL]


def is_estimated(expectation: Mapping[str, Any]) -> bool:
    """May it be corrected? What is firm is never touched."""
    default = "estimated" if expectation.get("type") == ESTIMATED_BY_DEFAULT else "firm"
    return (expectation.get("confidence") or default) == "estimated"


async def run_test(root: Path, expectation: Mapping[str, Any]) -> dict[str, Any]:
    """`test` or `script`: passes when the command ends with 0 in time."""
    made = {"type": expectation["type"], "passed": False}
    try:
        result = await _run(root, str(expectation.get("command") or ""))
    except DomainError as refused:
        return made | {"message": refused.message}
    words = _ended(result)
    if result.passed:
        return made | {"passed": True, "message": words}
    return made | {"message": words, "details": _printed(result)}


async def measure(root: Path, metric: Mapping[str, Any]) -> dict[str, Any]:
    """Passes when the number that the command prints last is at least the threshold."""
    made = {"name": metric["name"], "value": None, "threshold": metric["threshold"]}
    try:
        result = await _run(root, str(metric.get("command") or ""))
    except DomainError as refused:
        return made | {"passed": False, "message": refused.message}
    value = _number(result.stdout)
    if not result.passed:
        return made | {"passed": False, "message": _ended(result), "details": _printed(result)}
    if value is None:
        words = f"It printed no number: {result.stdout.strip()[-100:]!r}"
        return made | {"passed": False, "message": words}
    return made | {"value": value, "passed": value >= metric["threshold"]}


async def look_for(root: Path, expectation: Mapping[str, Any]) -> dict[str, Any]:
    """`file_exists`: passes when every path leads to a file or folder, without any link on the way."""
    absent = await asyncio.to_thread(missing, root, expectation.get("paths") or ())
    made = {"type": "file_exists", "passed": not absent}
    if not absent:
        return made | {"message": "All files exist."}
    return made | {"message": f"Missing: {', '.join(absent)}", "details": "\n".join(absent)}


def missing(root: Path, paths: Iterable[Any]) -> list[str]:
    return [str(path) for path in paths if not exists(root, str(path))]


def exists(root: Path, path: str) -> bool:
    """A link is nobody's result: it may lead out of the folder, and is not followed."""
    try:
        # O_PATH: a file nobody may read exists, too, and a pipe without a reader does not hold us.
        os.close(open_inside(root, path, os.O_PATH))
    except NotFound:
        return _is_folder(root, path)
    except (PathRefused, OSError):
        return False
    return True


def _is_folder(root: Path, path: str) -> bool:
    try:
        os.close(open_folder_inside(root, path))
    except (NotFound, PathRefused, OSError):
        return False
    return True


async def _run(root: Path, command: str) -> CommandResult:
    return await run_command(
        root, as_script(command), seconds=settings.CHECK_SECONDS, output=MOST_PRINTED
    )


def _ended(result: CommandResult) -> str:
    why = {
        "time": f"It was stopped: it took longer than {settings.CHECK_SECONDS} seconds.",
        "output": f"It was stopped: it printed more than {MOST_PRINTED // 1024 // 1024} MB.",
        "memory": "It was stopped: it used too much memory.",
        "disk": "It used more room than the workspace's folder has.",
        "file_size": "It was stopped: it made too large a file.",
    }.get(result.killed_for)
    return why or f"Exit code {result.exit_code}."


def _printed(result: CommandResult) -> str:
    """The end of it: there a failure says its reason."""
    parts = [result.stdout.strip(), result.stderr.strip()]
    return "\n".join(part[-LONGEST_DETAILS:] for part in parts if part)[-LONGEST_DETAILS:]


def _number(text: str) -> float | None:
    lines = text.strip().splitlines()
    try:
        value = float(lines[-1]) if lines else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
