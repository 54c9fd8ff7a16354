"""Graphs: what is refused, and that every other one runs to an end by the rules."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.missions.decision import Limits
from apps.missions.graph import DEEPEST, Edge, Flow, Graph, GraphInvalid, Task, edges
from tests.missions.simulation import barrier, run, shuffled
from tests.missions.strategies import fates, limits, missions, workflows


def graph(**sources):
    return Graph(tuple(Task(name, edges(*after.split())) for name, after in sources.items()))


def flaws(build):
    with pytest.raises(GraphInvalid) as raised:
        build()
    return {flaw.at: flaw.message for flaw in raised.value.flaws}


@st.composite
def choices(draw):
    """Ends at least one of what runs; which, and in what order, is the example's."""
    random = draw(st.randoms(use_true_random=False))
    return lambda running: random.sample(running, random.randint(1, len(running)))


@settings(max_examples=200, deadline=None)
@given(missions(), st.data(), limits, choices())
def test_every_mission_runs_to_an_end_by_the_rules(mission, data, bounds, choose):
    fate = {node.name: data.draw(fates, label=node.name) for node in mission.nodes}
    threshold = data.draw(st.sampled_from([None, 2.6]))
    ended = run(mission, fate.__getitem__, choose, limits=bounds, threshold=threshold)
    nodes = ended.world.nodes
    done = {name for name, node in nodes.items() if node.status == "done"}
    assert done <= {name for name, (status, *_) in fate.items() if status == "done"}
    assert ended.finish.all_done == (done == set(nodes))
    assert (ended.deadlocks > 0) == any(
        node.status == "failed" and node.score is None and node.outcome is None
        for name, node in nodes.items()
        if name not in {started for names in ended.log for started in names}
    )
    check_average(ended.finish, mission, nodes, threshold)


def check_average(finish, mission, nodes, threshold):
    scored = [
        (node.priority, nodes[node.name].score)
        for node in mission.nodes
        if nodes[node.name].status == "done" and nodes[node.name].score is not None
    ]
    weight = sum(priority for priority, _ in scored)
    mean = sum(priority * score for priority, score in scored) / weight if scored else None
    assert finish.avg_score == (None if mean is None else pytest.approx(mean, abs=1e-6))
    assert finish.below_threshold == bool(threshold and mean and mean < threshold)
    assert finish.completed == (finish.all_done and not finish.below_threshold)


@settings(max_examples=100, deadline=None)
@given(workflows(), st.data(), choices(), st.sampled_from([None, Limits(tasks=1)]))
def test_every_workflow_runs_to_an_end_by_the_rules(workflow, data, choose, bounds):
    ended = run(workflow, lambda name: data.draw(fates, label=name), choose, limits=bounds)
    statuses = {node.status for node in ended.world.nodes.values()}
    assert statuses <= {"done", "failed", "skipped"}
    assert ended.finish.all_done == ("failed" not in statuses)


@settings(max_examples=60, deadline=None)
@given(missions(), st.data(), st.randoms(use_true_random=False))
def test_the_order_of_writing_changes_nothing(mission, data, random):
    fate = {node.name: data.draw(fates, label=node.name) for node in mission.nodes}
    one = run(mission, fate.__getitem__, list)
    other = run(shuffled(mission, random), fate.__getitem__, list)
    assert [sorted(names) for names in one.log] == [sorted(names) for names in other.log]
    assert one.finish == other.finish
    assert one.world.barriers == other.world.barriers


def has_cycle(waits):
    """By taking away whatever waits for nothing: the slow way, and none of graphlib's."""
    left = dict(waits)
    while free := [name for name, after in left.items() if not set(after) & set(left)]:
        for name in free:
            del left[name]
    return bool(left)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), min_size=1))
def test_a_cycle_is_refused_and_shown(waits):
    waits = {name: sorted(after & set(waits) - {name}) for name, after in waits.items()}
    tasks = tuple(Task(name, edges(*after)) for name, after in waits.items())
    if not has_cycle(waits):
        assert {node.name for node in Graph(tasks).order} == set(waits)
        return
    (place, message), *others = flaws(lambda: Graph(tasks)).items()
    path = message.removeprefix("These wait for each other: ").removesuffix(".").split(" -> ")
    assert path[0] == path[-1] == tasks[place[1]].name
    assert len(set(path)) == len(path) - 1
    assert all(b in waits[a] for a, b in itertools.pairwise(path))
    assert not others


def test_a_cycle_through_a_barrier_is_refused():
    stop = barrier("checkpoint", "stop", ["b"], ["a"])
    tasks = (Task("a"), Task("b", edges("a")))
    found = flaws(lambda: Graph(tasks, (stop,)))
    assert found == {("nodes", 0, "after"): "These wait for each other: a -> b -> a."}


def test_every_flaw_is_named_at_its_place():
    tasks = (Task("a", edges("a", "x")), Task("b"), Task("b"), Task(""))
    stops = (barrier("gate", "g", ["a"], ["a"]), barrier("delay", "g", [], ["y"]))
    again = barrier("gate", "g", ["a"], ["b"])
    assert flaws(lambda: Graph(tasks, (*stops, again))) == {
        ("nodes", 0, "after", 0): "'a' waits for itself.",
        ("nodes", 0, "after", 1): "There is no 'x'.",
        ("nodes", 1, "name"): "Names are unique: 'b' is not.",
        ("nodes", 2, "name"): "Names are unique: 'b' is not.",
        ("nodes", 3, "name"): "Names are unique: '' is not.",
        ("barriers", 0, "name"): "Names are unique: 'g' is not.",
        ("barriers", 2, "name"): "Names are unique: 'g' is not.",
        ("barriers", 0, "blocks", 0): "'a' would wait for itself.",
        ("barriers", 1, "after"): "Name at least one.",
        ("barriers", 1, "blocks", 0): "There is no 'y'.",
    }


def test_a_task_and_a_barrier_of_each_kind_may_share_a_name():
    tasks = (Task("a"), Task("b", edges("a")))
    stops = tuple(barrier(kind, "a", ["a"], ["b"]) for kind in ("gate", "checkpoint", "delay"))
    assert len(Graph(tasks, stops).blockers["b"]) == 3


def test_what_a_flow_may_not_be():
    body = graph(a="")
    deep = body
    for _ in range(DEEPEST - 1):
        deep = Graph((Flow("f", deep),))
    assert flaws(lambda: Graph((Flow("f", deep),))) == {
        ("nodes", 0, "body"): "Graphs nest at most 8 deep."
    }
    wrong = (Flow("f", body, most=0), Flow("g", body, until=Edge("x")))
    assert set(flaws(lambda: Graph(wrong))) == {("nodes", 0, "most"), ("nodes", 1, "until")}


def test_an_absorbed_dependency_is_no_longer_waited_for():
    before = graph(a="", b="a", c="a b")
    after = before.without_edge("c", "a")
    assert after == graph(a="", b="a", c="b")
    assert before == graph(a="", b="a", c="a b")
