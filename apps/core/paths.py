"""Paths inside a root, walked by folder descriptor: a link that appears mid-way opens nothing.

`resolve_inside_root` answers a question about a moment; whoever opens the file uses `open_inside`,
which refuses symbolic links at every step (`O_NOFOLLOW`) and so has no gap between check and use.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.core.errors import DomainError, Kind, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_PATH = 1024  # characters
MAX_NAME = 255  # bytes
MAX_DEPTH = 32
MAX_LISTED = 10_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathRefused(DomainError):
    """The path leaves its root, goes through a link, or is no path at all."""

    kind = Kind.FORBIDDEN
    code = "path_refused"
    message = "This path is not allowed."


@dataclass(frozen=True, slots=True)
class Listed:
    """One name in a folder. `modified`: seconds since the epoch."""

    name: str
    folder: bool
    size: int
    modified: float


def parts_of(relative: str) -> list[str]:
    """The checked names of a relative path, `[]` for the root itself; `PathRefused`."""
    if len(relative) > MAX_PATH or relative.startswith("/") or not _is_text(relative):
        raise PathRefused
    parts = [part for part in relative.split("/") if part not in {"", "."}]
    if len(parts) > MAX_DEPTH:
        raise PathRefused
    for part in parts:
        check_name(part)
    return parts


def check_name(name: str) -> str:
    """`name` if it can be one file's name; `PathRefused` for `..`, slashes, NUL and the over-long."""
    bad = name in {"", ".", ".."} or "/" in name or "\\" in name or not _is_text(name)
    if bad or len(name.encode()) > MAX_NAME:
        raise PathRefused
    return name


def _is_text(text: str) -> bool:
    return not any(
        ord(char) < 32 or "\ud800" <= char <= "\udfff" or char == "\x7f" for char in text
    )


def resolve_inside_root(root: Path, relative: str) -> Path:
    """Where `relative` leads below `root`, links resolved; `PathRefused` when that is outside.

    For showing and comparing. The answer may be old by the time it is used: open with `open_inside`.
    """
    base = root.resolve(strict=True)
    found = base.joinpath(*parts_of(relative)).resolve()
    if found != base and base not in found.parents:
        raise PathRefused
    return found


def open_inside(root: Path, relative: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A file descriptor for the regular file at `relative`; the caller closes it.

    NotFound when it is not there or is no regular file; `PathRefused` for links and escapes.
    """
    parts = parts_of(relative)
    if not parts:
        raise NotFound
    with _walked(root, parts[:-1]) as folder:
        opened = _opened(
            parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, folder, mode
        )
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotFound
    return opened


def list_inside(root: Path, relative: str = "") -> list[Listed]:
    """The files and folders at `relative` by name; links and special files are left out. NotFound."""
    found: list[Listed] = []
    with _walked(root, parts_of(relative)) as folder, os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(about.st_mode)
            if is_folder or stat.S_ISREG(about.st_mode):
                found.append(Listed(entry.name, is_folder, about.st_size, about.st_mtime))
            if len(found) >= MAX_LISTED:
                break
    return sorted(found, key=lambda listed: (not listed.folder, listed.name))


def open_folder_inside(root: Path, relative: str = "") -> int:
    """A descriptor of the folder at `relative`; the caller closes it. NotFound, `PathRefused`."""
    with _walked(root, parts_of(relative)) as folder:
        return os.dup(folder)


def mkdirs_inside(root: Path, relative: str, mode: int = 0o700) -> None:
    """Make the folder at `relative` and those above it; fine if they are there. `PathRefused`."""
    with _walked(root, parts_of(relative), make=mode):
        pass


def mkdir_inside(root: Path, relative: str, mode: int = 0o700) -> None:
    """Make one folder in one that is there. FileExistsError, NotFound, `PathRefused`."""
    parts = _named(relative)
    with _walked(root, parts[:-1]) as folder:
        os.mkdir(parts[-1], mode, dir_fd=folder)


def rename_inside(root: Path, relative: str, name: str) -> None:
    """Give the file or folder at `relative` another name in its folder.

    FileExistsError when that is taken (two at the same moment may both find it free: one of them
    replaces the other), NotFound, `PathRefused`.
    """
    parts, new = _named(relative), check_name(name)
    with _walked(root, parts[:-1]) as folder:
        if _is_there(new, folder):
            raise FileExistsError
        try:
            os.rename(parts[-1], new, src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            raise NotFound from None


def rmdir_inside(root: Path, relative: str) -> None:
    """Remove an empty folder. OSError (ENOTEMPTY), NotFound, `PathRefused`."""
    parts = _named(relative)
    with _walked(root, parts[:-1]) as folder:
        try:
            os.rmdir(parts[-1], dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound from None


def _named(relative: str) -> list[str]:
    """The names of a path that is not the root itself; `PathRefused`."""
    parts = parts_of(relative)
    if not parts:
        raise PathRefused
    return parts


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove_inside(root: Path, relative: str) -> None:
    """Remove the file at `relative`, or the link itself; NotFound."""
    parts = _named(relative)
    with _walked(root, parts[:-1]) as folder:
        try:
            os.unlink(parts[-1], dir_fd=folder)
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound from None


@contextmanager
def _walked(root: Path, parts: list[str], make: int | None = None) -> Iterator[int]:
    """The descriptor of the folder below `root` that `parts` lead to, step by step."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if make is not None:
                _make(part, here, make)
            below = _opened(part, _FOLDER, here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _make(name: str, folder: int, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        return


def _opened(name: str, flags: int, folder: int, mode: int = 0o600) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=folder)
    except FileNotFoundError:
        raise NotFound from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK} or _is_link(name, folder):
            raise PathRefused from None
        if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.ENXIO}:
            raise NotFound from None
        raise


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
