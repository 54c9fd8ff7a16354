"""The rules of contract/polpo.md §5.4, §5.7 and §7.4, one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.missions.decision import Deadlock, Decision, Finish, Limits, decide
from apps.missions.graph import Edge, Flow, Graph, Task, edges
from apps.missions.standing import BarrierState, NodeState, Passage, Standing, Status, Timer
from tests.missions.simulation import barrier

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BOTH = (Task("a"), Task("b"), Task("c", edges("a", "b")))


def state(word):
    """`done`, `done:4.5` with a score, `done:yes` with an outcome."""
    status, _, more = word.partition(":")
    if more[:1].isdigit():
        return NodeState(Status(status), score=float(more))
    return NodeState(Status(status), outcome=more or None)


def look(graph, *, at=NOW, barriers=None, mission="active", limits=None, threshold=None, **nodes):
    """The decision on `graph` with nodes standing as said, and pending when nothing is said."""
    words = {node.name: nodes.get(node.name, "pending") for node in graph.nodes}
    found = {name: state(word) for name, word in words.items() if word != "removed"}
    standing = Standing(found, barriers or {})
    return decide(graph, standing, now=at, mission=mission, limits=limits, threshold=threshold)


def gated(**rules):
    return Graph(BOTH, (barrier("gate", "g", ["a", "b"], ["c"], **rules),))


def test_tasks_start_when_all_they_depend_on_is_done():
    graph = Graph(BOTH)
    assert look(graph).ready == ("a", "b")
    assert look(graph, a="done", b="review").ready == ()
    assert look(graph, a="done", b="done").ready == ("c",)


def test_the_urgent_start_first_and_the_rest_queue():
    tasks = (Task("a"), Task("b", priority=2), Task("c"), Task("d", priority=2))
    found = look(Graph(tasks), limits=Limits(tasks=3))
    assert (found.ready, found.queued) == (("b", "d", "a"), ("c",))
    busy = look(Graph(tasks), limits=Limits(tasks=2), a="assigned", b="review")
    assert (busy.ready, busy.queued) == ((), ("d", "c"))


def test_a_busy_agent_does_not_hold_up_another():
    tasks = (Task("x", agent="ann"), Task("y", agent="ann"), Task("z", agent="bob"))
    found = look(Graph(tasks), limits=Limits(tasks=2, by_agent={"ann": 1}))
    assert (found.ready, found.queued) == (("x", "z"), ("y",))


@pytest.mark.parametrize("status", ["draft", "awaiting_approval"])
def test_what_waits_for_a_person_holds_no_slot_and_is_no_deadlock(status):
    assert look(Graph(BOTH), a=status, b="done") == Decision()
    assert look(Graph(BOTH), limits=Limits(tasks=1), a=status).ready == ("b",)


def test_an_approval_may_still_change_things_and_a_draft_not():
    assert look(Graph(BOTH), a="awaiting_approval", b="failed") == Decision()
    assert look(Graph(BOTH), a="draft", b="failed").deadlock == Deadlock({"c": ("b",)}, ())


@pytest.mark.parametrize("mission", ["draft", "scheduled", "completed", "failed", "cancelled"])
def test_a_mission_that_is_not_running_decides_nothing(mission):
    assert look(Graph(BOTH), mission=mission) == Decision()


def test_a_paused_mission_starts_and_finishes_nothing():
    assert look(Graph(BOTH), mission="paused") == Decision()
    assert look(Graph(BOTH), mission="paused", a="failed", b="done") == Decision()
    ended = look(Graph(BOTH), mission="paused", a="done", b="done", c="done")
    assert ended.finished is None


@pytest.mark.parametrize(
    ("rules", "a", "b", "passed", "score", "reason"),
    [
        ({}, "done", "failed", True, None, ""),
        ({"all_passed": True}, "done", "done", True, None, ""),
        ({"all_passed": True}, "done:4", "failed", False, 4.0, "Not all tasks passed: b."),
        ({"min_score": 3.0}, "done", "done", False, None, "No score; at least 3 is needed."),
        ({"min_score": 3.0}, "done:2", "failed:4", True, 3.0, ""),
        ({"min_score": 3.0}, "done:2", "done:3", False, 2.5, "The mean score 2.50 is below 3."),
        ({"min_score": 3.3}, "done:3.3", "done", True, 3.3, ""),
    ],
)
def test_a_gate_judges_when_all_before_it_has_ended(rules, a, b, passed, score, reason):
    (verdict,) = look(gated(**rules), a=a, b=b).verdicts
    assert (verdict.gate, verdict.passed, verdict.avg_score) == ("g", passed, score)
    assert verdict.reason == reason
    assert look(gated(**rules), a=a, b="review").verdicts == ()


def test_a_gate_that_passes_opens_at_once_and_is_judged_once():
    found = look(gated(all_passed=True), a="done", b="done")
    assert found.ready == ("c",)
    again = look(
        gated(all_passed=True),
        a="done",
        b="done",
        c="in_progress",
        barriers={("gate", "g"): BarrierState(Passage.PASSED)},
    )
    assert again == Decision()


def test_the_verdict_of_a_failed_gate_falls_when_a_task_before_it_runs_again():
    failed = {("gate", "g"): BarrierState(Passage.FAILED)}
    standing = look(gated(min_score=4), a="done:1", b="done", barriers=failed)
    assert (standing.verdicts, standing.reopened) == ((), ())
    retried = look(gated(min_score=4), a="pending", b="done", barriers=failed)
    assert (retried.reopened, retried.ready) == (("g",), ("a",))
    passed = {("gate", "g"): BarrierState(Passage.PASSED)}
    assert look(gated(min_score=4), a="pending", b="done", barriers=passed).reopened == ()


def test_a_checkpoint_stops_everything_until_it_is_resumed():
    graph = Graph((*BOTH, Task("d")), (barrier("checkpoint", "p", ["a"], ["c"]),))
    reached = look(graph, a="done")
    assert (reached.reached, reached.ready) == (("p",), ())
    for passage, ready in ((Passage.REACHED, ()), (Passage.RESUMED, ("b", "d"))):
        found = look(graph, a="done", barriers={("checkpoint", "p"): BarrierState(passage)})
        assert (found.reached, found.ready) == ((), ready)


def test_a_mission_at_a_checkpoint_is_neither_finished_nor_deadlocked():
    graph = Graph(BOTH, (barrier("checkpoint", "p", ["a"], ["c"]),))
    held = {("checkpoint", "p"): BarrierState(Passage.REACHED)}
    assert look(graph, a="done", b="failed", barriers=held) == Decision()
    assert look(graph, a="done", b="failed", c="failed", barriers=held) == Decision()


def test_a_delay_starts_runs_and_expires_by_the_clock():
    graph = Graph(BOTH, (barrier("delay", "d", ["a"], ["c"], duration=timedelta(hours=1)),))
    end = NOW + timedelta(hours=1)
    begun = look(graph, a="done", b="done")
    assert (begun.started, begun.wake_at, begun.ready) == ((Timer("d", end),), end, ())
    running = {("delay", "d"): BarrierState(Passage.STARTED, end)}
    waiting = look(graph, at=end - timedelta(seconds=1), a="done", b="done", barriers=running)
    assert (waiting.expired, waiting.ready, waiting.wake_at) == ((), (), end)
    over = look(graph, at=end, a="done", b="done", barriers=running)
    assert (over.expired, over.ready, over.wake_at) == (("d",), ("c",), None)


def test_a_running_delay_is_no_deadlock():
    graph = Graph(BOTH, (barrier("delay", "d", ["a"], ["c"]),))
    running = {("delay", "d"): BarrierState(Passage.STARTED, NOW + timedelta(1))}
    assert look(graph, a="done", b="failed", barriers=running).deadlock is None
    expired = {("delay", "d"): BarrierState(Passage.EXPIRED)}
    found = look(graph, a="done", b="failed", barriers=expired)
    assert found.deadlock == Deadlock({"c": ("b",)}, ())


def test_a_deadlock_tells_failed_roots_from_what_is_merely_gone():
    chain = (Task("x"), Task("y"), Task("a", edges("x")), Task("b", edges("a")))
    graph = Graph((*chain, Task("c", edges("y")), Task("d", edges("c", "b"))))
    assert look(graph, x="failed").deadlock is None
    found = look(graph, x="failed", y="removed").deadlock
    assert found == Deadlock({"a": ("x",), "b": ("x",), "d": ("x",)}, ("c",))


def test_tasks_behind_a_failed_gate_are_stuck():
    found = look(gated(min_score=4), a="done:1", b="done:1")
    assert [verdict.passed for verdict in found.verdicts] == [False]
    assert found.deadlock == Deadlock({}, ("c",))
    roots = look(gated(all_passed=True), a="done", b="failed")
    assert roots.deadlock == Deadlock({"c": ("b",)}, ())


@pytest.mark.parametrize(
    ("states", "threshold", "finish"),
    [
        ({}, None, Finish(True, True, None, False)),
        ({}, 4.0, Finish(True, True, None, False)),
        ({"a": "done:2", "b": "done:4"}, 3.5, Finish(True, True, 3.5, False)),
        ({"a": "done:2", "b": "done:4"}, 3.6, Finish(False, True, 3.5, True)),
        ({"a": "failed:1", "b": "done:4"}, 3.6, Finish(False, False, 4.0, False)),
        ({"a": "removed", "c": "skipped"}, None, Finish(True, True, None, False)),
    ],
)
def test_a_mission_ends_with_its_last_task(states, threshold, finish):
    graph = Graph((Task("a"), Task("b", priority=3), Task("c", edges("a", "b"))))
    nodes = {"a": "done", "b": "done", "c": "done", **states}
    assert look(graph, threshold=threshold, **nodes) == Decision(finished=finish)
    assert look(graph, threshold=threshold, **{**nodes, "c": "review"}).finished is None


def test_the_arm_not_taken_is_skipped_and_the_join_runs_once():
    tasks = (
        Task("ask"),
        Task("yes", (Edge("ask", "yes"),)),
        Task("no", (Edge("ask", "no"),)),
        Task("more", edges("no")),
        Task("join", edges("yes", "more")),
    )
    taken = look(Graph(tasks), ask="done:yes")
    assert (taken.ready, taken.skipped) == (("yes",), ("no", "more"))
    skipped = {"ask": "done:yes", "no": "skipped", "more": "skipped"}
    assert look(Graph(tasks), yes="done", **skipped).ready == ("join",)
    neither = look(Graph(tasks), ask="done:maybe")
    assert neither.skipped == ("yes", "no", "more", "join")
    assert neither.finished.completed


BODY = Graph((Task("write"), Task("check", edges("write"))))


def loop(*rounds, status="in_progress", limits=None, **more):
    """The decision on `a -> f -> z`, where `f` runs BODY and stands as said."""
    graph = Graph((Task("a"), Flow("f", BODY, edges("a"), **more), Task("z", edges("f"))))
    worlds = tuple(
        Standing({name: state(word) for name, word in nodes.items()}) for nodes in rounds
    )
    nodes = {"a": state("done"), "z": state("pending")}
    nodes["f"] = NodeState(Status(status), rounds=worlds)
    return decide(graph, Standing(nodes), now=NOW, limits=limits)


def test_a_sub_workflow_is_entered_run_and_left():
    assert loop(status="pending").rounds == ("f",)
    within = loop({"write": "done", "check": "pending"})
    assert (within.inner["f"].ready, within.ready, within.deadlock) == (("check",), (), None)
    left = loop({"write": "done", "check": "done"})
    assert (left.flows_ended, left.ready) == ((("f", Status.DONE),), ("z",))


def test_what_fails_inside_fails_the_flow():
    left = loop({"write": "done", "check": "failed"}, most=3)
    assert left.flows_ended == (("f", Status.FAILED),)
    assert left.deadlock == Deadlock({"z": ("f",)}, ())
    stuck = loop({"write": "failed", "check": "pending"})
    assert stuck.deadlock is None
    assert stuck.inner["f"].deadlock == Deadlock({"check": ("write",)}, ())


def test_a_loop_repeats_until_its_answer_or_its_bound():
    good = Edge("check", "good")
    bad, fine = {"write": "done", "check": "done:bad"}, {"write": "done", "check": "done:good"}
    assert loop(bad, most=3, until=good).rounds == ("f",)
    assert loop(bad, fine, most=3, until=good).ready == ("z",)
    assert loop(bad, bad, bad, most=3, until=good).ready == ("z",)
    assert loop(fine, most=2).rounds == ("f",)
    assert loop(fine, fine, most=2).flows_ended == (("f", Status.DONE),)


def test_slots_are_shared_with_inner_graphs():
    graph = Graph((Task("a", priority=9), Flow("f", BODY)))
    within = Standing({"write": state("in_progress"), "check": state("pending")})
    nodes = {"a": state("pending"), "f": NodeState(Status.IN_PROGRESS, rounds=(within,))}
    for most, ready in ((1, ()), (2, ("a",))):
        found = decide(graph, Standing(nodes), now=NOW, limits=Limits(tasks=most))
        assert found.ready == ready
        assert found.deadlock is None
