"""What can be wrong with a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apps.core.errors import DomainError, Kind


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. `type_name` is upstream's (contract/muxi.md §3); `line` 0: the whole file."""

    type_name: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """`agents/scout.afs:12: what is wrong`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}" if place else self.text


class BundleError(DomainError):
    """A bundle that cannot be used. `message` names file and line; `problems` are all that were found."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "bundle_invalid"

    def __init__(self, type_name: str, message: str, /, *, file: str = "", line: int = 0) -> None:
        self.problems: tuple[Problem, ...] = (Problem(type_name, message, file, line),)
        super().__init__(str(self.problems[0]), type=type_name, file=file, line=line)

    @classmethod
    def of(cls, problems: tuple[Problem, ...]) -> BundleError:
        """The error of the first problem, which knows of all."""
        first = problems[0]
        error = cls(first.type_name, first.text, file=first.file, line=first.line)
        error.problems = problems
        return error

    @property
    def type_name(self) -> str:
        return self.problems[0].type_name

    @property
    def file(self) -> str:
        return self.problems[0].file

    @property
    def line(self) -> int:
        return self.problems[0].line


class BundleTooLarge(BundleError):
    """The archive is larger than one may be: packed, unpacked, or in the number of its files."""

    kind = Kind.TOO_LARGE
    code = "bundle_too_large"


class DiskRefused(BundleError):
    """The disk took no more while a bundle was unpacked. Nothing of it was kept."""

    kind = Kind.UNAVAILABLE
    code = "disk_refused"
