"""Lines that fit a regular expression: a program of its own, so that it can be killed.

`python -I -S grep.py ROOT PATH PATTERN INCLUDE` prints one JSON object a match, `{"error": …}` for a
pattern that is none. It is started by `tools/search.py`, which ends it when its time is over.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apps.core.folders import Entry

MOST = 200  # matches; one more says that there are more
LONGEST_LINE = 300  # characters shown
LARGEST_FILE = 4 * 1024 * 1024  # bytes; larger ones are left out
PROCESSOR_SECONDS, MEMORY = 30, 1024 * 1024 * 1024


def main(root: str, path: str, pattern: str, include: str) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        wanted = re.compile(pattern)
    except (re.error, OverflowError, RecursionError, MemoryError) as error:
        _tell({"error": str(error)})
        return
    left = MOST + 1
    for shown, text in _texts(Path(root), path, include):
        for number, line in enumerate(text.splitlines(), 1):
            if wanted.search(line):
                _tell({"path": shown, "line": number, "text": line.strip()[:LONGEST_LINE]})
                left -= 1
            if not left:
                return


def _texts(root: Path, path: str, include: str) -> Iterator[tuple[str, str]]:
    """The text files below `path`: their paths from the root, and what stands in them."""
    from apps.core.folders import walk_inside

    above, fits = path.strip("/"), _includes(include)
    for entry in walk_inside(root, path):
        inside_git = entry.path.startswith(".git/") or "/.git/" in entry.path
        if not entry.is_file or inside_git or not fits(entry):
            continue
        data = _content(entry)
        if data and b"\0" not in data:
            yield f"{above}/{entry.path}" if above else entry.path, data.decode("utf-8", "replace")


def _includes(include: str) -> Callable[[Entry], bool]:
    from apps.workspaces.names import Pattern

    wanted = Pattern(include)
    if not include:
        return lambda _: True
    if "/" in include:
        return lambda entry: wanted.fits(entry.path)
    return lambda entry: wanted.fits(entry.name)


def _content(entry: Entry) -> bytes:
    if entry.status.st_size > LARGEST_FILE:
        return b""
    try:
        with os.fdopen(entry.open(), "rb") as file:
            return file.read(LARGEST_FILE)
    except OSError:
        return b""


def _tell(found: dict[str, object]) -> None:
    print(json.dumps(found), flush=True)  # noqa: T201  (its answer)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(*sys.argv[1:])
