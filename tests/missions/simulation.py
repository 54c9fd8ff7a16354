"""A world that carries decisions out, with checks of its own that know nothing of how they were made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from apps.missions.decision import Decision, Limits, decide
from apps.missions.graph import Checkpoint, Delay, Flow, Gate, Graph, Task
from apps.missions.standing import BarrierState, NodeState, Passage, Standing, Status

START = datetime(2026, 5, 1, tzinfo=UTC)
ENDED = {"done", "failed", "skipped"}
RUNNING = {"assigned", "in_progress", "review"}


@dataclass
class Node:
    status: str = "pending"
    score: float | None = None
    outcome: str | None = None
    rounds: list[World] = field(default_factory=list)


class World:
    """One graph and what was recorded of it; flows hold worlds of their own."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes = {node.name: Node() for node in graph.nodes}
        self.barriers: dict[tuple[str, str], BarrierState] = {}

    def standing(self) -> Standing:
        nodes = {
            name: NodeState(
                Status(node.status),
                node.score,
                node.outcome,
                tuple(world.standing() for world in node.rounds),
            )
            for name, node in self.nodes.items()
        }
        return Standing(nodes, dict(self.barriers))

    def running(self) -> list[tuple[World, Task]]:
        found = [
            (self, node)
            for node in self.graph.nodes
            if isinstance(node, Task) and self.nodes[node.name].status in RUNNING
        ]
        for node in self.nodes.values():
            if node.rounds and node.status == "in_progress":
                found += node.rounds[-1].running()
        return found

    def record(self, decision: Decision) -> None:
        """Everything but starts; each record is checked against the rules as the contract words them."""
        for name, inner in decision.inner.items():
            self.nodes[name].rounds[-1].record(inner)
        for name, status in decision.flows_ended:
            self.end_flow(name, status)
        for name in decision.skipped:
            assert self.leads(name) == {"dead"}
            self.nodes[name].status = "skipped"
        for name in decision.reopened:
            del self.barriers["gate", name]
        for verdict in decision.verdicts:
            passage = Passage.PASSED if verdict.passed else Passage.FAILED
            self.come_up("gate", verdict.gate, BarrierState(passage))
        for name in decision.reached:
            self.come_up("checkpoint", name, BarrierState(Passage.REACHED))
        for timer in decision.started:
            state = BarrierState(Passage.STARTED, timer.expires_at)
            self.come_up("delay", timer.delay, state)
        for name in decision.expired:
            assert self.barriers["delay", name].passage == "started"
            self.barriers["delay", name] = BarrierState(Passage.EXPIRED)

    def end_flow(self, name: str, status: str) -> None:
        flow, node = self.graph.node[name], self.nodes[name]
        last = node.rounds[-1].nodes
        assert {inner.status for inner in last.values()} <= ENDED
        assert (status == "failed") == any(inner.status == "failed" for inner in last.values())
        assert 1 <= len(node.rounds) <= flow.most
        if status == "done" and len(node.rounds) < flow.most:
            assert last[flow.until.source].outcome == flow.until.outcome
        node.status = status

    def come_up(self, kind: str, name: str, state: BarrierState) -> None:
        barrier = next(b for b in self.graph.barriers if b.key == (kind, name))
        assert {self.nodes[title].status for title in barrier.after} <= ENDED
        assert (kind, name) not in self.barriers
        self.barriers[kind, name] = state

    def start(self, decision: Decision) -> list[str]:
        """Starts what is ready; the names, for the record of the run."""
        started = []
        # Inner decisions are about the round before the one that may begin now.
        for name, inner in decision.inner.items():
            started += [f"{name}/{n}" for n in self.nodes[name].rounds[-1].start(inner)]
        for name in (*decision.ready, *decision.rounds):
            node = self.nodes[name]
            assert node.status == ("in_progress" if node.rounds else "pending")
            assert self.leads(name) <= {"live", "dead"}
            assert "live" in self.leads(name) or not self.graph.node[name].after
            self.check_barriers(name)
            node.status = "in_progress"
            if isinstance(self.graph.node[name], Flow):
                node.rounds.append(World(self.graph.node[name].body))
            started.append(name)
        return started

    def check_barriers(self, name: str) -> None:
        assert all(state.passage != "reached" for state in self.barriers.values())
        for barrier in self.graph.barriers:
            if name in barrier.blocks:
                assert self.barriers[barrier.key].passage in {"passed", "resumed", "expired"}

    def leads(self, name: str) -> set[str]:
        return {self.lead(edge) for edge in self.graph.node[name].after}

    def lead(self, edge) -> str:
        source = self.nodes[edge.source]
        if source.status == "skipped":
            return "dead"
        if source.status == "done":
            return "live" if edge.outcome in {None, source.outcome} else "dead"
        return "broken" if source.status == "failed" else "open"

    def resume(self) -> bool:
        held = [key for key, state in self.barriers.items() if state.passage == "reached"]
        for key in held:
            self.barriers[key] = BarrierState(Passage.RESUMED)
        inner = [node.rounds[-1].resume() for node in self.nodes.values() if node.rounds]
        return bool(held) or any(inner)

    def give_up(self, decision: Decision) -> bool:
        """What a service does with a deadlock that nobody can resolve (§5.7)."""
        deadlock = decision.deadlock
        for name in () if deadlock is None else (*deadlock.failed, *deadlock.stuck):
            assert self.nodes[name].status == "pending"
            for root in deadlock.failed.get(name, ()):
                assert self.nodes[root].status == "failed"
            self.nodes[name].status = "failed"
        inner = [
            self.nodes[name].rounds[-1].give_up(below) for name, below in decision.inner.items()
        ]
        return deadlock is not None or any(inner)


@dataclass
class Run:
    """What came of a run. `log`: one entry a decision, the names it started."""

    world: World
    finish: object
    log: list[list[str]]
    deadlocks: int


def run(graph: Graph, fate, choose, *, limits: Limits | None = None, threshold=None) -> Run:
    """Carries `graph` to its end. `fate(name)` -> (status, score, outcome); `choose(running)` -> those
    that end now, at least one.
    """
    world, now, log, deadlocks = World(graph), START, [], 0
    for _ in range(400):
        decision = decide(graph, world.standing(), now=now, limits=limits, threshold=threshold)
        world.record(decision)
        moved = world.give_up(decision)
        log.append(world.start(decision))
        check_limits(world, limits or Limits())
        if decision.finished is not None:
            return Run(world, decision.finished, log, deadlocks)
        if decision_is_settled(decision):
            after = decide(graph, world.standing(), now=now, limits=limits, threshold=threshold)
            assert after.ready == after.rounds == after.verdicts == after.started == ()
        deadlocks += moved
        if running := world.running():
            for place, task in choose(running):
                end(place, task, fate(task.name))
        elif not (moved or world.resume() or log[-1]):
            assert decision.wake_at is not None, "nothing moves, and nobody was told"
            now = max(now, decision.wake_at)
    raise AssertionError("it never ends")


def decision_is_settled(decision: Decision) -> bool:
    """Whether carrying it out brought nothing that the same moment could go on from."""
    return not (decision.flows_ended or decision.rounds or decision.inner or decision.deadlock)


def end(world: World, task: Task, fate) -> None:
    node = world.nodes[task.name]
    assert node.status == "in_progress"
    node.status, node.score, node.outcome = fate


def check_limits(world: World, limits: Limits) -> None:
    running = [task for _, task in world.running()]
    assert limits.tasks is None or len(running) <= limits.tasks
    for agent, most in limits.by_agent.items():
        assert sum(task.agent == agent for task in running) <= most


def shuffled(graph: Graph, random) -> Graph:
    """The same graph, written down in another order."""
    nodes = [
        replace(node, after=tuple(random.sample(node.after, len(node.after))))
        for node in graph.nodes
    ]
    random.shuffle(nodes)
    return Graph(tuple(nodes), tuple(random.sample(graph.barriers, len(graph.barriers))))


def barrier(kind: str, name: str, after, blocks, **more):
    made = {"gate": Gate, "checkpoint": Checkpoint, "delay": Delay}[kind]
    if kind == "delay":
        more.setdefault("duration", timedelta(minutes=5))
    return made(name, tuple(after), tuple(blocks), **more)
