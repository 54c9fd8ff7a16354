"""Patterns of paths, as shells write them. Pure: `grep.py` runs it in a process of its own."""

from __future__ import annotations

from fnmatch import fnmatchcase


class Pattern:
    """`*`, `?` and `[…]` within one name; `**` stands for any number of folders, also none."""

    def __init__(self, text: str) -> None:
        self.parts = [part for part in text.split("/") if part not in {"", "."}]

    def fits(self, path: str) -> bool:
        """Whether all of `path` fits. In time of the two lengths, whatever the pattern."""
        places = self._reached({0})
        for name in path.split("/"):
            places = self._reached(
                {place for before in places if (place := self._after(before, name)) is not None}
            )
        return len(self.parts) in places

    def _after(self, place: int, name: str) -> int | None:
        """The place in the pattern after `name` was read at `place`."""
        if place == len(self.parts):
            return None
        if self.parts[place] == "**":
            return place
        return place + 1 if fnmatchcase(name, self.parts[place]) else None

    def _reached(self, places: set[int]) -> set[int]:
        """`places`, and those behind each `**` that may stand for nothing."""
        found = set(places)
        for place in sorted(places):
            here = place
            while here < len(self.parts) and self.parts[here] == "**":
                here += 1
                found.add(here)
        return found
