"""A bundle's archive (tar.gz) becomes a folder (contract/muxi.md §3.3).

Written so that whatever the archive holds, nothing appears outside of the folder that was given,
and nothing of a refused archive stays.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apps.core.paths import PathRefused, check_name, mkdirs_inside, open_inside
from apps.formations.bundles.errors import BundleError, BundleTooLarge, DiskRefused
from apps.formations.bundles.gunzip import Gunzip
from apps.formations.bundles.limits import USUAL
from apps.formations.bundles.tar import Tar, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.formations.bundles.gunzip import Readable
    from apps.formations.bundles.limits import Limits
    from apps.formations.bundles.tar import Entry

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def unpack(archive: Readable, into: Path, *, limits: Limits = USUAL) -> Path:
    """Unpack `archive` below `into`, which is there; the archive's one root folder.

    Only files and folders, at most as much as `limits` say. Raises BundleError ("ExtractError" for
    what is wrong with the archive, "ExtractDirError" for what is wrong with the place), of its kinds
    BundleTooLarge and DiskRefused; `into` is then as it was.
    """
    with _staged(into) as staging:
        root = _Unpacking(staging, limits).take(Tar(Gunzip(archive, limits), limits))
        target = into / root
        if os.path.lexists(target):
            raise BundleError("ExtractDirError", f"There is a {root!r} already.")
        (staging / root).rename(target)
    return target


@contextmanager
def _staged(into: Path) -> Iterator[Path]:
    """A folder in `into` that is gone afterwards, with what the disk said in words."""
    staging = None
    try:
        staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=into))
        yield staging
    except OSError as error:
        if error.errno in _FULL:
            raise DiskRefused("ExtractDirError", "The disk is full: nothing was kept.") from None
        words = f"The archive cannot be unpacked here: {error.strerror}."
        raise BundleError("ExtractDirError", words) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


class _Unpacking:
    """One archive on its way to the disk: the names that are taken and what was written."""

    def __init__(self, staging: Path, limits: Limits) -> None:
        self._staging = staging
        self._limits = limits
        self._entries = 0
        # Folded as many file systems fold -> the spelling, and whether it is a folder.
        self._taken: dict[str, tuple[str, bool]] = {}
        self._root = ""

    def take(self, tar: Tar) -> str:
        """Write what the archive holds; the name of its root folder."""
        for entry in tar:
            parts = self._parts(entry)
            if parts:
                self._claim(parts, entry)
                self._write(parts, entry, tar)
        if not self._root:
            raise BundleError("ExtractError", "The archive is empty.")
        return self._root

    def _parts(self, entry: Entry) -> list[str]:
        """The checked names of the path, from the root folder on; empty for what is passed over."""
        self._entries += 1
        self._check_number(self._entries)
        parts = _names(entry)
        # What macOS lays beside each file (attributes), and the `.` of `tar -C folder .`.
        if not parts or parts[-1].startswith("._"):
            return []
        if len("/".join(parts)) > self._limits.path or len(parts) > self._limits.depth + 1:
            raise _refused(entry, "has a path that is too long or too deep")
        if len(parts) == 1 and not entry.folder:
            raise _refused(entry, "stands outside of a folder: a bundle is one folder")
        if parts[0] != (self._root or parts[0]):
            raise _refused(entry, "stands in a second folder: a bundle is one folder")
        self._root = parts[0]
        return parts

    def _claim(self, parts: list[str], entry: Entry) -> None:
        """Each path once, in one spelling: two that differ only in case are one file on many disks."""
        folders = len(parts) if entry.folder else len(parts) - 1
        for depth in range(1, folders + 1):
            path = "/".join(parts[:depth])
            if self._taken.setdefault(_folded(path), (path, True)) != (path, True):
                raise _refused(entry, "is there twice, or in two spellings")
        if not entry.folder:
            path = "/".join(parts)
            if _folded(path) in self._taken:
                raise _refused(entry, "is there twice, or in two spellings")
            self._taken[_folded(path)] = (path, False)
        self._check_number(len(self._taken))  # with the folders that no entry names

    def _check_number(self, number: int) -> None:
        if number > self._limits.entries:
            words = f"The archive has more than {self._limits.entries} files and folders."
            raise BundleTooLarge("ExtractError", words)

    def _write(self, parts: list[str], entry: Entry, tar: Tar) -> None:
        if entry.folder:
            mkdirs_inside(self._staging, "/".join(parts))
            return
        if entry.size > self._limits.file:
            raise BundleTooLarge("ExtractError", f"{shown(entry.name)} is too large.")
        mkdirs_inside(self._staging, "/".join(parts[:-1]))
        mode = 0o700 if entry.executable else 0o600
        with os.fdopen(open_inside(self._staging, "/".join(parts), _NEW, mode), "wb") as file:
            for piece in tar.content():
                file.write(piece)


def _names(entry: Entry) -> list[str]:
    if entry.name.startswith(b"/"):
        raise _refused(entry, "has an absolute path")
    try:
        names = entry.name.decode().split("/")
        return [check_name(name) for name in names if name not in {"", "."}]
    except UnicodeDecodeError:
        raise _refused(entry, "has a name that is not UTF-8") from None
    except PathRefused:
        raise _refused(entry, "has a path that leads elsewhere or no path at all") from None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _refused(entry: Entry, words: str) -> BundleError:
    return BundleError("ExtractError", f"{shown(entry.name)} {words}.")
