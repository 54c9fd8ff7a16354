"""What happens next in a graph: a pure function of the graph, where its nodes stand, and the time.

The rules are those of contract/polpo.md §5.4, §5.7 and §7.4. Two differences, on purpose: a gate is judged
once, and its verdict recorded (upstream judges a failing gate at every tick), unless a task before a failed
gate runs again: then the verdict falls. And a checkpoint that was reached holds the graph until it is
resumed, whatever the mission's status says meanwhile.

Call `decide` after every change and at `Decision.wake_at`, and write down what it says: a decision that was
carried out does not come twice. It already counts with its own records (a task behind a gate that passes now
is ready now). `inner` is about the round before one that `rounds` begins, so it is carried out first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apps.missions.graph import Task
from apps.missions.standing import UNDER_WAY, Status, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from apps.missions.graph import Graph, Node
    from apps.missions.standing import Standing, Timer, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks may be under way at once: in the graph, and by agent. None: any number."""

    tasks: int | None = None
    by_agent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Nothing moves and nothing will. `failed`: task -> the failed tasks at the root of its waiting.
    `stuck`: tasks that wait only for what was removed, or behind a gate that failed.
    """

    failed: Mapping[str, tuple[str, ...]]
    stuck: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """`avg_score`: mean of the scored tasks that are done, weighted by priority."""

    completed: bool
    all_done: bool
    avg_score: float | None
    below_threshold: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. Names are of this graph; `inner` has the decisions of flows under way."""

    ready: tuple[str, ...] = ()  # tasks to start, the most urgent first
    queued: tuple[str, ...] = ()  # tasks that wait for nothing but a slot
    rounds: tuple[str, ...] = ()  # flows whose next (or first) round begins
    skipped: tuple[str, ...] = ()
    flows_ended: tuple[tuple[str, Status], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    reopened: tuple[str, ...] = ()  # gates whose failed verdict falls
    reached: tuple[str, ...] = ()  # checkpoints: the mission pauses
    started: tuple[Timer, ...] = ()
    expired: tuple[str, ...] = ()
    wake_at: datetime | None = None  # a delay ends then, though nothing else happens
    deadlock: Deadlock | None = None
    finished: Finish | None = None
    inner: Mapping[str, Decision] = field(default_factory=dict)


def decide(
    graph: Graph,
    standing: Standing,
    *,
    now: datetime,
    mission: str = "active",
    limits: Limits | None = None,
    threshold: float | None = None,
) -> Decision:
    """The next steps of a mission; empty unless it is `active` or `paused`.

    A paused one starts and finishes nothing, yet its barriers go on: what runs may end behind them.
    """
    if mission not in {"active", "paused"}:
        return Decision()
    view = View(graph, standing, now)
    slots = _Slots(limits or Limits(), view)
    return _decision(view, slots, active=mission == "active", threshold=threshold)


class _Slots:
    """Counts down from the limits what is under way, inner graphs included."""

    def __init__(self, limits: Limits, view: View) -> None:
        self._left = limits.tasks
        self._by_agent = dict(limits.by_agent)
        for task in _under_way(view):
            self._use(task)

    def take(self, task: Task) -> bool:
        if (self._left is not None and self._left <= 0) or self._by_agent.get(task.agent, 1) <= 0:
            return False
        self._use(task)
        return True

    def _use(self, task: Task) -> None:
        if self._left is not None:
            self._left -= 1
        if task.agent in self._by_agent:
            self._by_agent[task.agent] -= 1


def _under_way(view: View) -> Iterator[Task]:
    for node in view.graph.nodes:
        if isinstance(node, Task) and view.status.get(node.name) in UNDER_WAY:
            yield node
    for inner in view.inner.values():
        yield from _under_way(inner)


def _decision(view: View, slots: _Slots, *, active: bool, threshold: float | None) -> Decision:
    finished = _finish(view, threshold) if active else None
    moves = active and not view.is_held and finished is None
    # Inner graphs first: what has begun is finished before more is begun.
    inner = {
        name: _decision(body, slots, active=moves, threshold=None)
        for name, body in view.inner.items()
    }
    ready, queued, rounds = _starts(view, slots) if moves else ((), (), ())
    still = moves and not (ready or queued or rounds or view.is_moving)
    wakes = [*view.timers(), *(body.wake_at for body in inner.values() if body.wake_at)]
    return Decision(
        ready=ready,
        queued=queued,
        rounds=rounds,
        skipped=tuple(view.skipped),
        flows_ended=tuple(view.flows_ended),
        verdicts=tuple(view.verdicts),
        reopened=tuple(view.reopened),
        reached=tuple(view.reached),
        started=tuple(view.started),
        expired=tuple(view.expired),
        wake_at=min(wakes, default=None),
        deadlock=_deadlock(view) if still else None,
        finished=finished,
        inner=inner,
    )


Names = tuple[str, ...]


def _starts(view: View, slots: _Slots) -> tuple[Names, Names, Names]:
    """(ready, queued, rounds)"""
    ready: list[str] = []
    queued: list[str] = []
    rounds: list[str] = []
    for node in view.graph.by_priority:
        if node.name not in view.due and not view.may_start(node):
            continue
        if isinstance(node, Task):
            (ready if slots.take(node) else queued).append(node.name)
        else:
            rounds.append(node.name)
    return tuple(ready), tuple(queued), tuple(rounds)


def _finish(view: View, threshold: float | None) -> Finish | None:
    if not view.has_ended or view.is_held:
        return None
    done = [node for node in view.graph.nodes if view.status.get(node.name) is Status.DONE]
    score = view.mean_score((node.name, node.priority) for node in done)
    below = threshold is not None and score is not None and score < threshold
    all_done = Status.FAILED not in view.status.values()
    return Finish(all_done and not below, all_done, score, below)


def _deadlock(view: View) -> Deadlock | None:
    """None while a draft is all that others wait for: a person may still queue it."""
    failed: dict[str, tuple[str, ...]] = {}
    stuck: list[str] = []
    roots: dict[str, _Roots] = {}
    for node in view.graph.order:
        if view.status.get(node.name) not in {Status.PENDING, Status.DRAFT}:
            continue
        root = roots[node.name] = _roots_of(view, node, roots)
        if view.status[node.name] is Status.DRAFT:
            continue
        if root.failed:
            failed[node.name] = tuple(root.failed)
        elif root.is_gone:
            stuck.append(node.name)
    return Deadlock(failed, tuple(stuck)) if failed or stuck else None


@dataclass(frozen=True, slots=True)
class _Roots:
    """Why a node waits for ever. `failed` is an ordered set."""

    failed: dict[str, None]
    is_gone: bool


def _roots_of(view: View, node: Node, roots: Mapping[str, _Roots]) -> _Roots:
    sources = [edge.source for edge in node.after]
    is_gone = False
    for barrier in view.graph.blockers.get(node.name, ()):
        if not view.is_open(barrier):
            is_gone = is_gone or barrier.key in view.passages  # a gate that failed
            sources.extend(barrier.after)
    failed: dict[str, None] = {}
    for source in sources:
        status = view.status.get(source)
        is_gone = is_gone or status is None
        if status is Status.FAILED:
            failed[source] = None
        elif source in roots:
            failed |= roots[source].failed
            is_gone = is_gone or roots[source].is_gone
    return _Roots(failed, is_gone)
