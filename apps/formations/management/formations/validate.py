"""`manage.py formations validate PATH`: what a deploy would say, without deploying."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from apps.core.checks import wrong
from apps.formations.bundles import Bundle, BundleError, Problem, read, unpack
from apps.formations.management.formations.progress import progress

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from apps.accounts.operating import OperatorCommand, Row

NAME = "validate"
WORDS = "check a formation's folder or archive; every error with its file and line"
EXAMPLE = "validate examples/help-desk"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a folder, or a .tar.gz made of one")


def run(command: OperatorCommand, options: dict[str, Any]) -> Row:
    """A summary of what the formation has. CommandError, after the problems, when it has some."""
    path = Path(options["path"])
    try:
        with _unpacked(command, path) as root:
            bundle = read(root)
    except BundleError as error:
        problems = [_placed(problem, path) for problem in error.problems]
        _tell(command, problems, as_json=options["json"])
        raise CommandError(f"{path}: {_counted(len(problems), 'problem')}.") from None
    for warning in bundle.warnings:
        command.stderr.write(f"{_placed(warning, path)} (a warning)")
    return _summary(bundle)


@contextmanager
def _unpacked(command: OperatorCommand, path: Path) -> Iterator[Path]:
    """The folder; of an archive one that is gone afterwards."""
    if path.is_dir():
        yield path
        return
    try:
        archive = path.open("rb")
    except OSError as error:
        raise wrong("PATH", f"{path} cannot be read: {error.strerror}.") from None
    with archive, tempfile.TemporaryDirectory() as into:
        with progress(command.stderr, "Unpacking") as told:
            root = unpack(_Told(archive, path.stat().st_size, told), Path(into))
        yield root


class _Told:
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, size: int, told: Callable[[int, int], None]) -> None:
        self._file = file
        self._size = size
        self._told = told

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(size)
        self._told(self._file.tell(), self._size)
        return piece


def _placed(problem: Problem, path: Path) -> Problem:
    """With the path as it was typed, so that an editor can jump there."""
    return replace(problem, file=str(path / problem.file)) if path.is_dir() else problem


def _tell(command: OperatorCommand, problems: list[Problem], *, as_json: bool) -> None:
    if as_json:
        command.stdout.write(json.dumps([asdict(problem) for problem in problems], indent=2))
        return
    for problem in problems:
        command.stderr.write(str(problem))


def _summary(bundle: Bundle) -> Row:
    document = bundle.document
    return {
        "id": bundle.id,
        "version": bundle.version,
        "name": bundle.name,
        "agents": [agent["id"] for agent in document["agents"]],
        "mcp_servers": [server["id"] for server in document["mcp"]],
        "triggers": list(document["triggers"]),
        "sops": list(document["sops"]),
        "skills": list(document["skills"]),
        "knowledge": [item.get("path") or item["url"] for item in document["knowledge"]],
        "secrets": document["secrets_used"],
        "files": len(document["files"]),
        "warnings": len(bundle.warnings),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
