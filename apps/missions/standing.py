"""Where a graph stands: what was recorded of its nodes and barriers, and what follows from it at once.

`View` is the inner half of a decision: it settles everything that needs no slot (skipped arms, flows that
ended, barriers), so that what is left is only which tasks start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from math import fsum
from typing import TYPE_CHECKING

from apps.missions.graph import Checkpoint, Flow, Gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from apps.missions.graph import Barrier, BarrierKey, Edge, Graph, Node


class Status(StrEnum):
    """Where a node stands: a task's eight (§5.3), and `skipped` for the arm not taken."""

    DRAFT = "draft"
    PENDING = "pending"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    REVIEW = "review"
    AWAITING_APPROVAL = "awaiting_approval"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class Passage(StrEnum):
    """Where a barrier stands once it is more than waiting."""

    PASSED = "passed"
    FAILED = "failed"
    REACHED = "reached"
    RESUMED = "resumed"
    STARTED = "started"
    EXPIRED = "expired"


ENDED = frozenset({Status.DONE, Status.FAILED, Status.SKIPPED})
UNDER_WAY = frozenset({Status.ASSIGNED, Status.IN_PROGRESS, Status.REVIEW})
OPEN = frozenset({Passage.PASSED, Passage.RESUMED, Passage.EXPIRED})


@dataclass(frozen=True, slots=True)
class NodeState:
    """`score` (1-5) and `outcome` as the last run left them; `rounds` of a flow, the last one current."""

    status: Status = Status.PENDING
    score: float | None = None
    outcome: str | None = None
    rounds: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class BarrierState:
    """What was recorded; `expires_at` of a delay that has started."""

    passage: Passage
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A node that is not named was removed: it never runs, and what waits for it is stuck.
    A barrier that is not named has not come up yet.
    """

    nodes: Mapping[str, NodeState]
    barriers: Mapping[BarrierKey, BarrierState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's, to be recorded. `reason` is empty when it passed."""

    gate: str
    passed: bool
    avg_score: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Timer:
    delay: str
    expires_at: datetime


class _Lead(Enum):
    OPEN = "its source has not ended"
    LIVE = "its source is done, with the outcome asked for"
    DEAD = "its source was skipped, or answered otherwise"
    BROKEN = "its source failed or was removed"


class View:
    """`graph` as it stands once this decision is recorded: statuses, passages, and what is new in them."""

    def __init__(self, graph: Graph, standing: Standing, now: datetime) -> None:
        self.graph = graph
        self.now = now
        self._recorded = standing.nodes
        self.status: dict[str, Status] = {
            node.name: Status(standing.nodes[node.name].status)
            for node in graph.nodes
            if node.name in standing.nodes
        }
        self.inner: dict[str, View] = {}
        self.due: set[str] = set()  # flows under way that need another round
        self.skipped: list[str] = []
        self.flows_ended: list[tuple[str, Status]] = []
        for node in graph.order:
            self._settle(node)
        self.passages = dict(standing.barriers)
        self.verdicts: list[Verdict] = []
        self.reopened: list[str] = []
        self.reached: list[str] = []
        self.started: list[Timer] = []
        self.expired: list[str] = []
        # With nothing left to hold, nothing comes up any more.
        for barrier in () if self.has_ended else graph.barriers:
            self._raise(barrier)

    @property
    def has_ended(self) -> bool:
        return ENDED.issuperset(self.status.values())

    @property
    def is_held(self) -> bool:
        return any(state.passage is Passage.REACHED for state in self.passages.values())

    @property
    def is_moving(self) -> bool:
        """Something is under way, with people, or on the clock."""
        moving = UNDER_WAY | {Status.AWAITING_APPROVAL}
        return not moving.isdisjoint(self.status.values()) or bool(list(self.timers()))

    def timers(self) -> Iterator[datetime]:
        for state in self.passages.values():
            if state.passage is Passage.STARTED and state.expires_at is not None:
                yield state.expires_at

    def lead(self, edge: Edge) -> _Lead:
        status = self.status.get(edge.source)
        if status is None or status is Status.FAILED:
            return _Lead.BROKEN
        if status is Status.SKIPPED:
            return _Lead.DEAD
        if status is not Status.DONE:
            return _Lead.OPEN
        asked = edge.outcome in {None, self._recorded[edge.source].outcome}
        return _Lead.LIVE if asked else _Lead.DEAD

    def holds(self, edge: Edge) -> bool:
        return self.lead(edge) is _Lead.LIVE

    def may_start(self, node: Node) -> bool:
        """Arms not taken do not count, as long as one was: a join after a branch runs once."""
        return (
            self.status.get(node.name) is Status.PENDING
            and all(self.lead(edge) in {_Lead.LIVE, _Lead.DEAD} for edge in node.after)
            and all(self.is_open(barrier) for barrier in self.graph.blockers.get(node.name, ()))
        )

    def is_open(self, barrier: Barrier) -> bool:
        state = self.passages.get(barrier.key)
        return state is not None and state.passage in OPEN

    def mean_score(self, weights: Iterable[tuple[str, float]]) -> float | None:
        """Of the nodes that have a score; None when none has. Six places: 3.3 thrice is 3.3."""
        scored = [
            (state.score, weight)
            for name, weight in weights
            if (state := self._recorded.get(name)) is not None and state.score is not None
        ]
        if not scored:
            return None
        total = fsum(score * weight for score, weight in scored)
        return round(total / fsum(weight for _, weight in scored), 6)

    def _settle(self, node: Node) -> None:
        status = self.status.get(node.name)
        if status is Status.PENDING and node.after:
            if all(self.lead(edge) is _Lead.DEAD for edge in node.after):
                self.status[node.name] = Status.SKIPPED
                self.skipped.append(node.name)
        elif status is Status.IN_PROGRESS and isinstance(node, Flow):
            self._follow(node)

    def _follow(self, flow: Flow) -> None:
        rounds = self._recorded[flow.name].rounds
        if not rounds:
            self.due.add(flow.name)
            return
        body = self.inner[flow.name] = View(flow.body, rounds[-1], self.now)
        if not body.has_ended or body.is_held:
            return
        failed = Status.FAILED in body.status.values()
        met = flow.until is not None and body.holds(flow.until)
        if not failed and not met and len(rounds) < flow.most:
            self.due.add(flow.name)
        else:
            self.status[flow.name] = Status.FAILED if failed else Status.DONE
            self.flows_ended.append((flow.name, self.status[flow.name]))

    def _raise(self, barrier: Barrier) -> None:
        """Brings `barrier` up when what stands before it has ended, and down or on when time has come."""
        ended = all(self.status.get(name) in ENDED for name in barrier.after)
        known = self.passages.get(barrier.key)
        if known is None:
            if ended:
                self.passages[barrier.key] = self._come_up(barrier)
        elif known.passage is Passage.STARTED:
            if known.expires_at is None or known.expires_at <= self.now:
                self.passages[barrier.key] = BarrierState(Passage.EXPIRED)
                self.expired.append(barrier.name)
        elif known.passage is Passage.FAILED and not ended:
            del self.passages[barrier.key]
            self.reopened.append(barrier.name)

    def _come_up(self, barrier: Barrier) -> BarrierState:
        if isinstance(barrier, Gate):
            verdict = self._judge(barrier)
            self.verdicts.append(verdict)
            return BarrierState(Passage.PASSED if verdict.passed else Passage.FAILED)
        if isinstance(barrier, Checkpoint):
            self.reached.append(barrier.name)
            return BarrierState(Passage.REACHED)
        timer = Timer(barrier.name, self.now + barrier.duration)
        self.started.append(timer)
        return BarrierState(Passage.STARTED, timer.expires_at)

    def _judge(self, gate: Gate) -> Verdict:
        failed = [name for name in gate.after if self.status[name] is Status.FAILED]
        score = self.mean_score((name, 1.0) for name in dict.fromkeys(gate.after))
        reason = ""
        if gate.all_passed and failed:
            reason = f"Not all tasks passed: {', '.join(failed)}."
        elif gate.min_score is not None and score is None:
            reason = f"No score; at least {gate.min_score:g} is needed."
        elif gate.min_score is not None and score is not None and score < gate.min_score:
            reason = f"The mean score {score:.2f} is below {gate.min_score:g}."
        return Verdict(gate.name, not reason, score, reason)
