"""What is found wrong while a bundle is read: all of it, so that one look at the list is enough."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from apps.formations.bundles.errors import BundleError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.formations.bundles.yamlfile import At, Document

MOST = 100  # problems told; a broken file has thousands


class Report:
    """`errors` make the bundle unusable; `warnings` are likely mistakes."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def wrong(
        self, document: Document, at: At, words: str, *, type_name: str = "ParseError"
    ) -> None:
        self.add(Problem(type_name, words, document.file, document.line(at)))

    def doubt(self, document: Document, at: At, words: str) -> None:
        if len(self.warnings) < MOST:
            self.warnings.append(Problem("Warning", words, document.file, document.line(at)))

    def add(self, problem: Problem) -> None:
        if len(self.errors) < MOST and problem not in self.errors:
            self.errors.append(problem)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """A BundleError inside is a problem among others, and what follows is read nevertheless."""
        try:
            yield
        except BundleError as error:
            for problem in error.problems:
                self.add(problem)

    def raise_if_wrong(self) -> None:
        if self.errors:
            raise BundleError.of(tuple(sorted(self.errors, key=_as_read)))


def _as_read(problem: Problem) -> tuple[bool, bool, str, int]:
    """The formation's file first, line by line; secrets last, since they matter when the rest is right."""
    is_secret = problem.type_name == "SecretsError"
    return is_secret, not problem.file.startswith("formation."), problem.file, problem.line
