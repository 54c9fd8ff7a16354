"""Where the marks of a graph stand: plain Python, no drawing.

A mark stands one layer after the last of what it waits for (the longest path), so that every line leads
from left to right; within a layer marks stand near what they wait for. A graph too large to read is
folded: neighbouring layers become one band that only counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_MARKS = 150  # drawn one by one; a larger graph is folded
MOST_LINES = 600
MOST_BANDS = 24


@dataclass(frozen=True, slots=True)
class Mark:
    """A task or a barrier. `after`: keys of what it waits for; `row_id` and `url` once it has a row."""

    key: str
    title: str
    state: str
    after: tuple[str, ...] = ()
    kind: str = "task"
    note: str = ""
    row_id: str = ""
    url: str = ""

    @property
    def is_task(self) -> bool:
        return self.kind == "task"


@dataclass(frozen=True, slots=True)
class Band:
    """Layers `first`..`last` (counted from 1) as one: how many tasks are in which state."""

    first: int
    last: int
    states: Mapping[str, int]
    barriers: int

    @property
    def tasks(self) -> int:
        return sum(self.states.values())


Layers = list[list[Mark]]


def layers_of(marks: Sequence[Mark]) -> Layers:
    """Every mark, by the length of the longest way to it. What waits for itself stands last of all."""
    known = {mark.key: mark for mark in marks}
    waits = {mark.key: {key for key in mark.after if key in known} for mark in marks}
    followers: dict[str, list[str]] = {key: [] for key in known}
    for key, sources in waits.items():
        for source in sources:
            followers[source].append(key)
    layers: Layers = []
    front = [key for key, sources in waits.items() if not sources]
    while front:
        layers.append([known[key] for key in front])
        front = _freed(front, waits, followers)
    if left := [known[key] for key, sources in waits.items() if sources]:
        layers.append(left)
    return _arranged(layers)


def _freed(
    front: Iterable[str], waits: dict[str, set[str]], followers: Mapping[str, list[str]]
) -> list[str]:
    """Those that wait for nothing any more once `front` has its place."""
    found = []
    for source in front:
        for key in followers[source]:
            waits[key].discard(source)
            if not waits[key]:
                found.append(key)
    return found


def _arranged(layers: Layers) -> Layers:
    """Each layer ordered by the mean place of what its marks wait for: fewer lines cross."""
    place: dict[str, float] = {}
    arranged = []
    for layer in layers:
        ordered = sorted(layer, key=lambda mark: _mean_place(mark, place))
        middle = (len(ordered) - 1) / 2
        place |= {mark.key: index - middle for index, mark in enumerate(ordered)}
        arranged.append(ordered)
    return arranged


def _mean_place(mark: Mark, place: Mapping[str, float]) -> float:
    known = [place[key] for key in mark.after if key in place]
    return sum(known) / len(known) if known else 0.0


def is_too_large(marks: Sequence[Mark]) -> bool:
    return len(marks) > MOST_MARKS or sum(len(mark.after) for mark in marks) > MOST_LINES


def bands_of(layers: Layers) -> list[Band]:
    """At most `MOST_BANDS`, of about as many layers each."""
    size = max(1, -(-len(layers) // MOST_BANDS))
    return [_band(start, layers[start : start + size]) for start in range(0, len(layers), size)]


def _band(start: int, layers: Layers) -> Band:
    marks = [mark for layer in layers for mark in layer]
    states = Counter(mark.state for mark in marks if mark.is_task)
    barriers = sum(not mark.is_task for mark in marks)
    return Band(start + 1, start + len(layers), dict(states), barriers)
