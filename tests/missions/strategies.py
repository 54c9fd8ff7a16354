"""Random graphs: acyclic by construction, written down in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from apps.missions.decision import Limits
from apps.missions.graph import Edge, Flow, Graph, Task, edges
from tests.missions.simulation import barrier

AGENTS = ("ann", "bob")


@st.composite
def missions(draw, *, most=7):
    """Tasks that depend on earlier ones, barriers that hold a task from (some of) its dependencies."""
    names = [chr(ord("a") + n) for n in range(draw(st.integers(1, most)))]
    sources = {
        name: draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=3)) if n else []
        for n, name in enumerate(names)
    }
    nodes = [
        Task(
            name,
            edges(*sources[name]),
            priority=draw(st.sampled_from([1.0, 1.0, 2.0, 0.5])),
            agent=draw(st.sampled_from(AGENTS)),
        )
        for name in draw(st.permutations(names))
    ]
    barriers = [
        draw(barriers_before(name, sources[name], f"x{n}"))
        for n, name in enumerate(names)
        if sources[name] and draw(st.booleans())
    ]
    return Graph(tuple(nodes), tuple(barriers))


@st.composite
def barriers_before(draw, name, sources, title):
    kind = draw(st.sampled_from(["gate", "gate", "checkpoint", "delay"]))
    after = draw(st.lists(st.sampled_from(sources), min_size=1, unique=True))
    more = {}
    if kind == "gate":
        more = {
            "min_score": draw(st.sampled_from([None, 2.0, 3.0])),
            "all_passed": draw(st.booleans()),
        }
    return barrier(kind, title, after, [name], **more)


@st.composite
def workflows(draw, depth=2):
    """Branches (edges that ask for an answer), loops and sub-workflows."""
    names = [chr(ord("a") + n) for n in range(draw(st.integers(1, 5)))]
    nodes = []
    for n, name in enumerate(names):
        sources = draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=2)) if n else []
        after = tuple(Edge(s, draw(st.sampled_from([None, "yes", "no"]))) for s in sources)
        if depth and draw(st.integers(0, 3)) == 0:
            nodes.append(draw(flows(name, after, depth - 1)))
        else:
            nodes.append(Task(name, after))
    return Graph(tuple(draw(st.permutations(nodes))))


@st.composite
def flows(draw, name, after, depth):
    body = draw(workflows(depth=depth))
    until = draw(st.sampled_from([None, Edge(body.nodes[0].name, "yes")]))
    return Flow(name, body, after, most=draw(st.integers(1, 3)), until=until)


limits = st.builds(
    Limits,
    tasks=st.sampled_from([None, 1, 2]),
    by_agent=st.dictionaries(st.sampled_from(AGENTS), st.integers(1, 2)),
)
fates = st.tuples(
    st.sampled_from(["done", "done", "done", "failed"]),
    st.sampled_from([None, 1.0, 2.5, 3.0, 5.0]),
    st.sampled_from(["yes", "no", None]),
)
