"""A folder becomes a bundle's archive, as the command line of the origin packs it (contract/muxi.md §6)."""

from __future__ import annotations

import gzip
import os
import tarfile
from fnmatch import fnmatchcase
from io import BytesIO
from typing import TYPE_CHECKING

from apps.formations.bundles.errors import BundleError, BundleTooLarge
from apps.formations.bundles.limits import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from apps.formations.bundles.limits import Limits

LEFT_OUT = (
    *(".git", ".muxi", ".env*", ".vscode", ".idea", ".DS_Store"),
    *("node_modules", "__pycache__", "*.pyc", "*.log", "*.tmp"),
)
# Of these only what stands beside the formation's file: knowledge may have a folder `secrets`.
LEFT_OUT_AT_THE_TOP = {"secrets", "memory.db"}


def pack(
    root: Path,
    *,
    name: str = "",
    limits: Limits = USUAL,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> bytes:
    """The tar.gz of `root`, in which its folder is called `name` (the formation's id; usual: as now).

    The same files give the same bytes, so that a repeated deploy is seen to be one. `told(done, of)`
    hears how many files are in. Raises BundleError for links and for what nobody could unpack.
    """
    name = name or root.resolve().name
    files = sorted(_files(root, ""))
    if len(files) > limits.entries:
        raise BundleTooLarge("BundleError", f"There are more than {limits.entries} files.")
    packed = BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for done, relative in enumerate(files, 1):
            _add(tar, root, name, relative)
            told(done, len(files))
    return packed.getvalue()


def _files(root: Path, below: str) -> Iterator[str]:
    """The paths that a bundle carries, relative, with forward slashes."""
    try:
        with os.scandir(root / below) as found:
            entries = list(found)
    except OSError as error:
        raise BundleError("ReadError", f"Cannot be read: {error.strerror}.", file=below) from None
    for entry in entries:
        relative = f"{below}/{entry.name}" if below else entry.name
        if _is_left_out(entry.name, top=not below):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, relative)
        elif entry.is_file(follow_symlinks=False):
            yield relative
        else:
            raise BundleError("ReadError", "A bundle has files and folders only.", file=relative)


def _is_left_out(name: str, *, top: bool) -> bool:
    if top and name in LEFT_OUT_AT_THE_TOP:
        return True
    return any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def _add(tar: tarfile.TarFile, root: Path, name: str, relative: str) -> None:
    try:
        with (root / relative).open("rb") as file:
            about = os.fstat(file.fileno())
            entry = tarfile.TarInfo(f"{name}/{relative}")
            entry.size = about.st_size
            entry.mode = 0o755 if about.st_mode & 0o100 else 0o644
            tar.addfile(entry, file)
    except OSError as error:
        raise BundleError(
            "ReadError", f"Cannot be read: {error.strerror}.", file=relative
        ) from None
