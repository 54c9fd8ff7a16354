"""Walking a folder whole, by folder descriptor like `paths`: no link is followed, no depth is endless."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.core.paths import MAX_DEPTH, open_folder_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One name below the folder walked. `path` is relative to it; `parent` an open descriptor of the
    folder the name stands in, good until the walk goes on.
    """

    path: str
    name: str
    parent: int
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def open(self) -> int:
        """A descriptor of this file; OSError when it is a link or gone by now."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self.name, flags, dir_fd=self.parent)


@dataclass(frozen=True, slots=True)
class Use:
    """What a folder takes: names in it, and bytes. Not `whole`: more than could be counted."""

    names: int
    size: int
    whole: bool = True


def walk_inside(
    root: Path, relative: str = "", *, closed: Callable[[str], None] | None = None
) -> Iterator[Entry]:
    """Everything below a folder, each folder's names in order. NotFound, `PathRefused` for the folder.

    `closed` is told of folders that cannot be entered or are deeper than `MAX_DEPTH`.
    """
    handle = open_folder_inside(root, relative)
    try:
        yield from _walk(handle, "", MAX_DEPTH, closed)
    finally:
        os.close(handle)


def _walk(
    folder: int, above: str, depth: int, closed: Callable[[str], None] | None
) -> Iterator[Entry]:
    for name in sorted(os.listdir(folder)):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError:  # the folder can be listed and not entered
            if closed is not None:
                closed(above + name)
            continue
        entry = Entry(above + name, name, folder, status)
        yield entry
        if entry.is_folder:
            yield from _below(entry, depth - 1, closed)


def _below(entry: Entry, depth: int, closed: Callable[[str], None] | None) -> Iterator[Entry]:
    try:
        handle = os.open(entry.name, _FOLDER, dir_fd=entry.parent) if depth > 0 else None
    except FileNotFoundError:
        return
    except OSError:
        handle = None
    if handle is None:
        if closed is not None:
            closed(entry.path)
        return
    try:
        yield from _walk(handle, f"{entry.path}/", depth, closed)
    finally:
        os.close(handle)


def measure(root: Path, *, most: int = 100_000) -> Use:
    """How much is in the folder at `root`; counting ends at `most` names.

    A file counts by its length or by its blocks, whichever is more: neither holes nor blocks set aside
    make it small. A folder nobody can look into makes the answer not `whole`.
    """
    unseen: list[str] = []
    names = size = 0
    for entry in walk_inside(root, closed=unseen.append):
        names += 1
        if not entry.is_folder:
            size += max(entry.status.st_size, entry.status.st_blocks * 512)
        if names >= most:
            return Use(names, size, whole=False)
    return Use(names, size, whole=not unseen)
