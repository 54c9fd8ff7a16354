"""The files of an unpacked bundle, listed once and read with a limit. Links open nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apps.core.errors import NotFound
from apps.core.paths import PathRefused, list_inside, open_inside
from apps.formations.bundles.errors import BundleError
from apps.formations.bundles.limits import LARGEST_TEXT, MOST_TEXT, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AFS = (".afs", ".yaml", ".yml")  # in the order in which they are looked for


@dataclass(slots=True)
class Source:
    """`sizes`: relative path -> bytes, of every regular file; `folders` the paths that hold some."""

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    _read: int = 0

    @classmethod
    def of(cls, root: Path) -> Source:
        """Raises BundleError when the folder cannot be read or holds too much."""
        source = cls(root)
        try:
            for path, size in _walked(root, "", 0):
                source.sizes[path] = size
                source.folders |= _folders_above(path)
                if len(source.sizes) > USUAL.entries:
                    raise BundleError("ReadError", f"There are more than {USUAL.entries} files.")
        except (NotFound, OSError):
            raise BundleError("ReadError", f"The folder {root.name!r} cannot be read.") from None
        return source

    def has(self, path: str) -> bool:
        return path in self.sizes

    def inside(self, *folders: str, ending: tuple[str, ...]) -> list[str]:
        """The files that lie directly in one of `folders`, by name."""
        return sorted(
            path
            for path in self.sizes
            if path.rpartition("/")[0] in folders and path.endswith(ending)
        )

    def afs(self, *stems: str) -> str:
        """The first of `agents/scout` with an ending of a formation's file that is there, or empty."""
        tried = (stem + ending for stem in stems for ending in AFS)
        return next((path for path in tried if path in self.sizes), "")

    def text(self, path: str) -> str:
        """The file as text. BundleError when it is too large or no UTF-8."""
        data = self.data(path)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise BundleError("ParseError", "Is not UTF-8 text.", file=path, line=line) from None

    def data(self, path: str) -> bytes:
        try:
            with os.fdopen(open_inside(self.root, path), "rb") as file:
                data = file.read(LARGEST_TEXT + 1)
        except (NotFound, PathRefused, OSError):
            raise BundleError("ReadError", "Cannot be read.", file=path) from None
        self._read += len(data)
        if len(data) > LARGEST_TEXT or self._read > MOST_TEXT:
            raise BundleError("ReadError", "Is too large.", file=path)
        return data


def _walked(root: Path, below: str, depth: int) -> Iterator[tuple[str, int]]:
    if depth > USUAL.depth:
        raise BundleError("ReadError", "Lies too deep.", file=below)
    for entry in list_inside(root, below):
        path = f"{below}/{entry.name}" if below else entry.name
        if not entry.folder:
            yield path, entry.size
        elif entry.name not in {".git", "node_modules", "__pycache__"}:
            yield from _walked(root, path, depth + 1)


def _folders_above(path: str) -> set[str]:
    parts = path.split("/")[:-1]
    return {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
