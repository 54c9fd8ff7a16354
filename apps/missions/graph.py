"""A graph of work, as plain immutable values: what waits for what, checked once when it is made.

Nodes do the work: a `Task`, or a `Flow`, a graph inside the graph (run once a sub-workflow, run again a
loop). Edges lead from a node to those that wait for it, and may ask for one outcome: a task that answers
`yes` or `no` is a branch. Barriers (gates, checkpoints, delays) stand between nodes, as missions write them:
after these, before those (contract/polpo.md §7.2). `decision.decide` says what happens next.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 8  # graphs within graphs
MOST_ROUNDS = 1_000

BarrierKey = tuple[str, str]  # (kind, name): a gate and a task may be called the same
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """Waits for `source` to be done; with an `outcome`, done with that answer."""

    source: str
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """`priority` (above 0): goes first when slots are few, and weighs in the mission's score."""

    name: str
    after: tuple[Edge, ...] = ()
    priority: float = 1.0
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """A graph as one node: run at most `most` times, until the edge `until` of `body` holds.

    Reaching `most` is an end like any other, not a failure.
    """

    name: str
    body: Graph
    after: tuple[Edge, ...] = ()
    priority: float = 1.0
    most: int = 1
    until: Edge | None = None


@dataclass(frozen=True, slots=True)
class _Barrier:
    name: str
    after: tuple[str, ...]
    blocks: tuple[str, ...]
    kind: ClassVar[str]

    @property
    def key(self) -> BarrierKey:
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Gate(_Barrier):
    """Judges the tasks before it, once: all of them done, and their mean score (1-5)."""

    kind: ClassVar[str] = "gate"
    min_score: float | None = None
    all_passed: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint(_Barrier):
    """Holds the whole graph until somebody resumes it."""

    kind: ClassVar[str] = "checkpoint"


@dataclass(frozen=True, slots=True)
class Delay(_Barrier):
    kind: ClassVar[str] = "delay"
    duration: timedelta = timedelta()


Node = Task | Flow
Barrier = Gate | Checkpoint | Delay


@dataclass(frozen=True, slots=True)
class Flaw:
    """`at`: `("nodes", 2, "after", 0)`, a path into the graph as it was given."""

    at: Place
    message: str


class GraphInvalid(ValueError):
    """Every flaw that was found; of cycles, one."""

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        self.flaws = flaws
        super().__init__(flaws[0].message)


@dataclass(frozen=True)
class Graph:
    """Raises `GraphInvalid`. The order of nodes is the order in which equals start."""

    nodes: tuple[Node, ...]
    barriers: tuple[Barrier, ...] = ()

    def __post_init__(self) -> None:
        flaws = (*_name_flaws(self), *_edge_flaws(self), *_barrier_flaws(self), *_flow_flaws(self))
        if flaws := flaws or _cycle_flaws(self):
            raise GraphInvalid(flaws)

    @cached_property
    def node(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """Every node after all that it waits for, by edges and through barriers."""
        names = TopologicalSorter(_sources(self)).static_order()
        return tuple(self.node[name] for name in names)

    @cached_property
    def by_priority(self) -> tuple[Node, ...]:
        return tuple(sorted(self.nodes, key=lambda node: -node.priority))

    @cached_property
    def blockers(self) -> dict[str, tuple[Barrier, ...]]:
        """Node -> the barriers before it."""
        found: dict[str, tuple[Barrier, ...]] = {}
        for barrier in self.barriers:
            for name in dict.fromkeys(barrier.blocks):
                found[name] = (*found.get(name, ()), barrier)
        return found

    @cached_property
    def depth(self) -> int:
        return 1 + max(
            (node.body.depth for node in self.nodes if isinstance(node, Flow)), default=0
        )

    def without_edge(self, name: str, source: str) -> Graph:
        """The same graph in which `name` no longer waits for `source` (a dependency absorbed, §5.7)."""
        nodes = (
            replace(node, after=tuple(edge for edge in node.after if edge.source != source))
            if node.name == name
            else node
            for node in self.nodes
        )
        return replace(self, nodes=tuple(nodes))


def edges(*sources: str) -> tuple[Edge, ...]:
    return tuple(Edge(source) for source in sources)


def _sources(graph: Graph) -> dict[str, list[str]]:
    """Node -> what it waits for, through barriers as well."""
    found = {node.name: [edge.source for edge in node.after] for node in graph.nodes}
    for barrier in graph.barriers:
        for name in barrier.blocks:
            found[name].extend(barrier.after)
    return found


def _name_flaws(graph: Graph) -> Iterator[Flaw]:
    nodes = Counter(node.name for node in graph.nodes)
    barriers = Counter(barrier.key for barrier in graph.barriers)
    for index, node in enumerate(graph.nodes):
        if not node.name or nodes[node.name] > 1:
            yield Flaw(("nodes", index, "name"), f"Names are unique: {node.name!r} is not.")
    for index, barrier in enumerate(graph.barriers):
        if not barrier.name or barriers[barrier.key] > 1:
            yield Flaw(("barriers", index, "name"), f"Names are unique: {barrier.name!r} is not.")


def _edge_flaws(graph: Graph) -> Iterator[Flaw]:
    for index, node in enumerate(graph.nodes):
        for number, edge in enumerate(node.after):
            at = ("nodes", index, "after", number)
            if edge.source == node.name:
                yield Flaw(at, f"{node.name!r} waits for itself.")
            elif edge.source not in graph.node:
                yield Flaw(at, f"There is no {edge.source!r}.")


def _barrier_flaws(graph: Graph) -> Iterator[Flaw]:
    for index, barrier in enumerate(graph.barriers):
        for side, names in (("after", barrier.after), ("blocks", barrier.blocks)):
            if not names:
                yield Flaw(("barriers", index, side), "Name at least one.")
            for number, name in enumerate(names):
                at = ("barriers", index, side, number)
                if name not in graph.node:
                    yield Flaw(at, f"There is no {name!r}.")
                elif side == "blocks" and name in barrier.after:
                    yield Flaw(at, f"{name!r} would wait for itself.")


def _flow_flaws(graph: Graph) -> Iterator[Flaw]:
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Flow):
            if not 1 <= node.most <= MOST_ROUNDS:
                yield Flaw(("nodes", index, "most"), f"From 1 to {MOST_ROUNDS} rounds.")
            if node.until is not None and node.until.source not in node.body.node:
                yield Flaw(("nodes", index, "until"), f"There is no {node.until.source!r} inside.")
            if node.body.depth >= DEEPEST:
                yield Flaw(("nodes", index, "body"), f"Graphs nest at most {DEEPEST} deep.")


def _cycle_flaws(graph: Graph) -> tuple[Flaw, ...]:
    try:
        TopologicalSorter(_sources(graph)).prepare()
    except CycleError as error:
        # graphlib gives it in the order of work; who waits reads it from the other end.
        cycle = list(reversed(error.args[1]))
        index = next(n for n, node in enumerate(graph.nodes) if node.name == cycle[0])
        message = f"These wait for each other: {' -> '.join(cycle)}."
        return (Flaw(("nodes", index, "after"), message),)
    return ()
