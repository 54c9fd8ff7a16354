"""Agents, MCP servers and A2A services: in files of their own, included, or written out in place.

A list of the formation's file names them (contract/muxi.md §6): `scout` is the file in `agents/` with that
id, `{$include: agents/scout.afs}` that file, a mapping is the thing itself. Without a list every file
of the folder counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.paths import PathRefused, parts_of
from apps.formations.bundles import checking, yamlfile
from apps.formations.bundles.source import AFS

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.formations.bundles.report import Report
    from apps.formations.bundles.source import Source
    from apps.formations.bundles.yamlfile import At, Document


@dataclass(frozen=True, slots=True)
class Kind:
    """`schema` is a name of `schema.py`; `folders` are looked through in this order."""

    noun: str
    schema: str
    folders: tuple[str, ...]


AGENT = Kind("agent", "AGENT", ("agents",))
SERVER = Kind("MCP server", "SERVER", ("mcp", "mcps"))
SERVICE = Kind("A2A service", "A2A_SERVICE", ("a2a",))


class Members:
    """The things of one kind, as the formation and its agents name them. Files are read once."""

    def __init__(self, kind: Kind, source: Source, report: Report) -> None:
        self._kind = kind
        self._source = source
        self._report = report
        self._files: dict[str, Document | None] = {}
        self.used: dict[str, Document] = {}  # the files that were named, by path

    def listed(self, document: Document, at: At) -> list[Document]:
        """What the list at `at` names, each checked; without a list, what lies in the folders."""
        listed = _reach(document.value, at)
        if not listed:
            paths = self._source.inside(*self._kind.folders, ending=AFS)
            return [found for path in paths if (found := self._fitting(path)) is not None]
        named = [self.one(document, (*at, index), item) for index, item in enumerate(listed)]
        return [found for found in named if found is not None]

    def one(self, document: Document, at: At, item: Any) -> Document | None:
        """What one item of a list names; None, and a word in the report, when that is wrong."""
        if isinstance(item, dict) and "$include" not in item:
            inline = document.part(at, item)
            return inline if checking.fits(self._kind.schema, inline, self._report) else None
        path = self._included(document, at, item) if isinstance(item, dict) else self.path_of(item)
        if path:
            return self._fitting(path)
        if not isinstance(item, dict):
            self._report.wrong(document, at, self._unknown(item))
        return None

    def path_of(self, name: str) -> str:
        """The file of the thing with this id, or empty: by the file's name, else by the id in it."""
        folders, known = self._kind.folders, self._source.afs
        by_name = known(*(f"{folder}/{name}" for folder in folders))
        if by_name and _id_of(self._parsed(by_name)) == name:
            return by_name
        paths = self._source.inside(*folders, ending=AFS)
        return next((path for path in paths if _id_of(self._parsed(path)) == name), by_name)

    def _included(self, document: Document, at: At, item: dict[str, Any]) -> str:
        path = item["$include"]
        try:
            path = "/".join(parts_of(path)) if isinstance(path, str) else ""
        except PathRefused:
            path = ""
        if path.endswith(AFS) and self._source.has(path) and len(item) == 1:
            return path
        words = "An $include stands alone and names a file of the bundle (.afs, .yaml, .yml)."
        self._report.wrong(document, at, words)
        return ""

    def _fitting(self, path: str) -> Document | None:
        document = self._parsed(path)
        if document is None:
            return None
        if isinstance(document.value, dict) and "schema" not in document.value:
            self._report.wrong(document, (), 'Needs `schema: "1.0.0"`.')
        self.used[path] = document
        return document if checking.fits(self._kind.schema, document, self._report) else None

    def _parsed(self, path: str) -> Document | None:
        if path not in self._files:
            self._files[path] = None
            with self._report.noting():
                self._files[path] = yamlfile.parse(self._source.text(path), path)
        return self._files[path]

    def _unknown(self, name: str) -> str:
        there = [
            path.rpartition("/")[2].rpartition(".")[0]
            for path in self._source.inside(*self._kind.folders, ending=AFS)
        ]
        folder = f"{self._kind.folders[0]}/"
        has = f"{folder} has {', '.join(there[:20])}" if there else f"{folder} is empty"
        return f"There is no {self._kind.noun} with the id `{name}`: {has}."


def refuse_twins(
    kind: Kind,
    found: list[Document],
    report: Report,
    *,
    fold: Callable[[str], str] = str.casefold,
) -> None:
    """An id stands once, folded as names are here: `Scout` and `scout` would be one agent's name."""
    seen: dict[str, Document] = {}
    for document in found:
        name = document.value["id"]
        other = seen.setdefault(fold(name), document)
        if other is not document:
            where = f"{other.file}:{other.line(('id',))}"
            words = f"The {kind.noun} id `{name}` is there twice, also at {where}."
            report.wrong(document, ("id",), words)


def _reach(value: Any, at: At) -> list[Any]:
    for step in at:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _id_of(document: Document | None) -> Any:
    value = document.value if document is not None else None
    return value.get("id") if isinstance(value, dict) else None
