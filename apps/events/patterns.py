"""Which events a reader wants: exact names, `prefix:*`, `*` (contract/polpo.md §16-17)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_PATTERNS = 64
LONGEST = 100
_PART = r"[A-Za-z0-9_.-]+"
_PATTERN = re.compile(rf"\*|{_PART}(?::{_PART})*(?::\*)?")


@dataclass(frozen=True, slots=True)
class Patterns:
    """`wanted` None: everything, as before the first subscription; an empty set: nothing."""

    wanted: frozenset[str] | None = None

    def match(self, event: str) -> bool:
        """`task:*` takes `task:created` and `task:retry:blocked`, too."""
        if self.wanted is None:
            return True
        if event in self.wanted or "*" in self.wanted:
            return True
        end = event.rfind(":")
        while end >= 0:
            if event[:end] + ":*" in self.wanted:
                return True
            end = event.rfind(":", 0, end)
        return False

    def plus(self, words: Iterable[str]) -> Patterns:
        """These too; the first ones end "everything". InvalidInput when that makes too many."""
        return Patterns(_counted((self.wanted or frozenset()) | _checked(words)))

    def minus(self, words: Iterable[str]) -> Patterns:
        """Without these. From everything nothing is taken away, as nothing was asked for by name."""
        gone = _checked(words)
        return self if self.wanted is None else Patterns(self.wanted - gone)

    @property
    def key(self) -> str:
        """The same for the same wishes."""
        return "" if self.wanted is None else "?" + ",".join(sorted(self.wanted))


EVERYTHING = Patterns()
NOTHING = Patterns(frozenset())


def parse_filter(text: str) -> Patterns:
    """`task:*,mission:saved` of a query; empty: everything."""
    words = [word for part in text.split(",") if (word := part.strip())]
    return EVERYTHING.plus(words) if words else EVERYTHING


def _checked(words: Iterable[str]) -> frozenset[str]:
    found = frozenset(words)
    for word in found:
        if len(word) > LONGEST or not _PATTERN.fullmatch(word):
            shown = word[:LONGEST]
            raise InvalidInput(f"{shown!r} is no event name: give a name, prefix:* or *.")
    return found


def _counted(words: frozenset[str]) -> frozenset[str]:
    if len(words) > MOST_PATTERNS:
        raise InvalidInput(f"At most {MOST_PATTERNS} patterns.")
    return words
