"""Bundles as files: unpacked for a moment, kept in the file storage, handed out as a zip.

What is kept is packed anew, without `.key`: secrets lie in the vault, sealed, and the key that opens
`secrets.enc` does not lie beside it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from apps.core.folders import walk_inside
from apps.core.paths import PathRefused, parts_of
from apps.formations import bundles
from apps.formations.errors import ArchiveRefused, DraftPathInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1024 * 1024
KEY_FILE = ".key"
LONGEST_PATH = 500
MEMORY_FILE = "memory.db"
MEMORY_BYTES = 4 * 1024 * 1024  # a smaller archive never touches the disk twice


@contextmanager
def unpacked(archive: IO[bytes]) -> Iterator[Path]:
    """The root folder of a bundle, in a temporary folder that is gone afterwards. Raises BundleError."""
    with tempfile.TemporaryDirectory(prefix="polymux-bundle-") as folder:
        yield bundles.unpack(archive, Path(folder))


def hash_of(archive: IO[bytes]) -> str:
    """The SHA-256 of the archive in hex; it is read from its start, and stands there again."""
    archive.seek(0)
    counted = hashlib.sha256()
    while piece := archive.read(CHUNK):
        counted.update(piece)
    archive.seek(0)
    return counted.hexdigest()


def packed(root: Path, name: str, *, with_key: bool = False) -> IO[bytes]:
    """A tar.gz of `root` below one folder `name`, as a file at its start. The caller closes it."""
    spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  (handed to the caller)
    with tarfile.open(fileobj=spool, mode="w:gz", compresslevel=1) as tar:
        for entry in walk_inside(root):
            if entry.is_file and (with_key or entry.path != KEY_FILE):
                with os.fdopen(entry.open(), "rb") as file:
                    known = tar.gettarinfo(arcname=f"{name}/{entry.path}", fileobj=file)
                    tar.addfile(known, file)
    spool.seek(0)
    return spool


def keep(root: Path, name: str, place: str) -> tuple[str, int]:
    """Store the bundle; its key in the file storage and its size. Raises ArchiveRefused."""
    try:
        with packed(root, name) as spool:
            size = spool.seek(0, os.SEEK_END)
            spool.seek(0)
            return default_storage.save(place, File(spool, name=name)), size
    except OSError as error:
        raise ArchiveRefused(f"The bundle could not be stored: {error.strerror}.") from None


def discard(*keys: str) -> None:
    """Forget stored bundles, and what was unpacked of them here: after the commit that let go of them."""
    for key in keys:
        default_storage.delete(key)
        shutil.rmtree(local_folder(key), ignore_errors=True)


def local_folder(key: str) -> Path:
    """Where this host unpacks a stored bundle whose programs it runs; see `placing`."""
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return Path(settings.DATA_DIR) / "formations" / name


@contextmanager
def opened(key: str) -> Iterator[Path]:
    """A stored bundle, unpacked, as `unpacked`. Raises ArchiveRefused when the storage has it not."""
    try:
        stored = default_storage.open(key)
    except OSError:
        raise ArchiveRefused("The stored bundle cannot be read.") from None
    with stored, unpacked(cast("IO[bytes]", stored)) as root:
        yield root


def zipped(key: str, *, with_memory: bool = False) -> IO[bytes]:
    """A stored bundle as a zip at its start (contract/muxi.md §3.7): no hidden files but `.env`.

    The caller closes it.
    """
    spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  (handed to the caller)
    with opened(key) as root, zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in walk_inside(root):
            if entry.is_file and _is_shown(entry.path, with_memory=with_memory):
                with os.fdopen(entry.open(), "rb") as file, made.open(entry.path, "w") as inside:
                    while piece := file.read(CHUNK):
                        inside.write(piece)
    spool.seek(0)
    return spool


def files_below(root: Path) -> dict[str, bytes]:
    """Every file of an unpacked bundle, by its path."""
    found = {}
    for entry in walk_inside(root):
        if entry.is_file:
            with os.fdopen(entry.open(), "rb") as file:
                found[entry.path] = file.read()
    return found


def checked_path(path: str) -> str:
    """A relative path with forward slashes. Raises DraftPathInvalid."""
    try:
        parts = parts_of(path)
    except PathRefused:
        raise DraftPathInvalid from None
    if not parts or len("/".join(parts)) > LONGEST_PATH:
        raise DraftPathInvalid
    return "/".join(parts)


def _is_shown(path: str, *, with_memory: bool) -> bool:
    parts = path.split("/")
    if any(part.startswith(".") and part != ".env" for part in parts):
        return False
    return with_memory or parts[-1] != MEMORY_FILE
