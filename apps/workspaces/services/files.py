"""Changing the workspace's folder through a surface. The file first, then its record: a record of what
did not happen would mislead, a change without one only lacks its news.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.services import record_change
from apps.core.actor import Scope
from apps.core.announce import announce
from apps.core.errors import InvalidInput, NotFound
from apps.core.paths import (
    check_name,
    mkdir_inside,
    open_folder_inside,
    open_inside,
    parts_of,
    remove_inside,
    rename_inside,
    rmdir_inside,
)
from apps.workspaces.errors import FileNameTaken, FolderNotEmpty
from apps.workspaces.events import FileChanged
from apps.workspaces.files import check_room, check_writable, files_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from django.core.files.base import File

    from apps.core.actor import Actor

MOST_UPLOADS = 100


def make_folder(actor: Actor, path: str) -> str:
    """Make a folder in one that is there; its path. FileNameTaken, FolderFull, NotFound, `PathRefused`."""
    root = _root_to_change(actor, path)
    check_room(root, 0)
    try:
        mkdir_inside(root, path)
    except FileExistsError:
        raise FileNameTaken from None
    return _record(actor, path, "created")


def rename_file(actor: Actor, path: str, name: str) -> str:
    """Give a file or folder another name; its old path. FileNameTaken, NotFound, `PathRefused`."""
    root = _root_to_change(actor, path)
    check_writable(check_name(name))
    try:
        rename_inside(root, path, name)
    except FileExistsError:
        raise FileNameTaken from None
    return _record(actor, path, "renamed", after={"name": name})


def delete_file(actor: Actor, path: str) -> str:
    """Remove a file, a link or an empty folder; its path. FolderNotEmpty, NotFound, `PathRefused`."""
    root = _root_to_change(actor, path)
    try:
        remove_inside(root, path)
    except NotFound:
        try:
            rmdir_inside(root, path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise FolderNotEmpty from None
    return _record(actor, path, "deleted")


def store_files(actor: Actor, folder: str, sent: Sequence[File[Any]]) -> list[tuple[str, int]]:
    """Put files into a folder that is there, over those of the same name: (name, bytes) of each.

    FolderFull before anything is written; NotFound, `PathRefused`, InvalidInput for none or too many.
    """
    root = _root_to_change(actor, folder)
    if not 1 <= len(sent) <= MOST_UPLOADS:
        raise InvalidInput(f"file: send 1 to {MOST_UPLOADS} files", fields={"file": ["Required."]})
    os.close(open_folder_inside(root, folder))
    names = [check_name(upload.name or "") for upload in sent]
    paths = ["/".join([*parts_of(folder), name]) for name in names]
    for path in paths:
        check_writable(path)
    check_room(root, sum(upload.size for upload in sent))
    for path, upload in zip(paths, sent, strict=True):
        _store(root, path, upload)
        _record(actor, path, "created")
    return [(name, upload.size) for name, upload in zip(names, sent, strict=True)]


def _root_to_change(actor: Actor, path: str) -> Path:
    actor.need(Scope.WRITE)
    check_writable(path)
    return files_root(actor.workspace_id)


def _store(root: Path, path: str, upload: File[Any]) -> None:
    handle = open_inside(root, path, os.O_WRONLY | os.O_CREAT)
    with os.fdopen(handle, "wb") as file:
        file.truncate()
        for chunk in upload.chunks():
            file.write(chunk)


def _record(actor: Actor, path: str, action: str, *, after: dict[str, Any] | None = None) -> str:
    parts = parts_of(path)
    place, folder = "/".join(parts), "/".join(parts[:-1]) or "."
    with transaction.atomic():
        record_change(actor, f"folder.{action}", "file", place, after=after)
        announce(actor, FileChanged(path=place, dir=folder, action=action, source="server"))
    return place
