"""Mission documents (contract/polpo.md §7.2): there and back, and what is refused where."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.reading import as_json
from apps.missions.document import DocumentInvalid, parse_document

TASK = {"title": "a", "description": "do a"}
SECOND = {"title": "b", "description": "do b", "dependsOn": ["a"]}
FULL = {
    "name": "Launch",
    "group": "Launch",
    "tasks": [
        {
            "title": "b",
            "description": "Second",
            "assignTo": "writer",
            "dependsOn": ["a"],
            "expectations": [{"type": "test", "command": "true", "confidence": "firm"}],
            "expectedOutcomes": [{"type": "file", "label": "Report", "required": True}],
            "metrics": [{"name": "n", "command": "c", "threshold": 1.5}],
            "maxRetries": 0,
            "maxDuration": 60000.0,
            "retryPolicy": {"escalateAfter": 1, "fallbackAgent": "boss"},
            "sideEffects": True,
            "priority": 2.0,
            "deadline": "2026-05-01T09:00:00.000Z",
            "notifications": {"rules": [{"events": ["task:*"]}], "inherit": True},
        },
        {"title": "a", "description": "First", "sideEffects": False, "priority": 1.0},
    ],
    "team": [
        {
            "name": "writer",
            "role": "writes",
            "model": "openai/x",
            "systemPrompt": "Write.",
            "allowedTools": [],
            "skills": ["s"],
            "maxTurns": 5,
            "maxConcurrency": 1,
            "reportsTo": "chief",
            "reasoning": "low",
            "identity": {"displayName": "W"},
        }
    ],
    "qualityGates": [
        {
            "name": "a",
            "afterTasks": ["a"],
            "blocksTasks": ["b"],
            "minScore": 3.0,
            "requireAllPassed": True,
            "condition": "x > 1",
            "notifyChannels": ["c"],
        }
    ],
    "checkpoints": [{"name": "a", "afterTasks": ["a"], "blocksTasks": ["b"], "message": "m"}],
    "delays": [{"name": "a", "afterTasks": ["a"], "blocksTasks": ["b"], "duration": "PT1H30M"}],
    "qualityThreshold": 3.5,
    "schedule": "0 9 * * 1-5",
    "deadline": "2026-05-01T09:00:00.000Z",
    "endDate": "2026-06-01T00:00:00.000Z",
    "notifications": {"rules": []},
}


def refusals(raw):
    with pytest.raises(DocumentInvalid) as raised:
        parse_document(raw)
    return raised.value.fields


def with_second(**more):
    return {"tasks": [TASK, SECOND], **more}


def test_every_key_comes_back_as_it_went_in():
    assert as_json(parse_document(FULL)) == FULL
    assert parse_document(json.dumps(FULL)) == parse_document(FULL)


def test_a_document_becomes_a_graph():
    document = parse_document(FULL)
    graph = document.graph()
    assert [(node.name, node.priority, node.agent) for node in graph.nodes] == [
        ("b", 2.0, "writer"),
        ("a", 1.0, ""),
    ]
    assert [edge.source for edge in graph.node["b"].after] == ["a"]
    gate, stop, delay = graph.blockers["b"]
    assert (gate.min_score, gate.all_passed) == (3.0, True)
    assert (stop.key, delay.duration) == (("checkpoint", "a"), timedelta(minutes=90))


def test_agents_that_must_exist_are_named():
    assert parse_document(FULL).agent_names() == {"boss", "chief"}
    assert parse_document({"tasks": [TASK]}).agent_names() == frozenset()


words = st.text("abcé 🙂\n", min_size=1, max_size=12).filter(str.strip)


@st.composite
def documents(draw):
    titles = draw(st.lists(words, min_size=1, max_size=6, unique=True))
    tasks = []
    for n, title in enumerate(titles):
        task = {"title": title, "description": draw(words)}
        if n and draw(st.booleans()):
            task["dependsOn"] = draw(st.lists(st.sampled_from(titles[:n]), min_size=1))
        if draw(st.booleans()):
            task["priority"] = draw(st.floats(0.001, 1000))
        if draw(st.booleans()):
            paths = draw(st.lists(words, min_size=1, max_size=3))
            task["expectations"] = [{"type": "file_exists", "paths": paths}]
        tasks.append(task)
    document = {"tasks": draw(st.permutations(tasks))}
    held = [task for task in tasks if task.get("dependsOn")]
    if held and draw(st.booleans()):
        task = draw(st.sampled_from(held))
        length = draw(st.sampled_from(["PT5M", "P1W", "PT0.5S", "PT0S"]))
        sides = {"afterTasks": task["dependsOn"], "blocksTasks": [task["title"]]}
        document["delays"] = [{"name": draw(words), "duration": length, **sides}]
    return document


@settings(max_examples=100, deadline=None)
@given(documents())
def test_a_document_survives_being_written(raw):
    document = parse_document(raw)
    written = as_json(document)
    assert parse_document(json.dumps(written)) == document
    assert [task["title"] for task in written["tasks"]] == [t["title"] for t in raw["tasks"]]
    assert document.graph().order


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        ("notjson", {"data"}),
        ("", {"data"}),
        ("[" * 100_000, {"data"}),
        ('{"tasks": NaN}', {"tasks"}),
        ("[]", {"data"}),
        ("null", {"data"}),
        ({}, {"tasks"}),
        ({"tasks": []}, {"tasks"}),
        ({"tasks": {}}, {"tasks"}),
        ({"tasks": [1]}, {"tasks[0]"}),
        ({"tasks": [{}]}, {"tasks[0].title", "tasks[0].description"}),
        ({"tasks": [{**TASK, "depends_on": []}]}, {"tasks[0].depends_on"}),
        ({"tasks": [TASK], "extra": 1, "7": 1}, {"extra", "7"}),
        ({"tasks": [{**TASK, "title": "x" * 201}]}, {"tasks[0].title"}),
        ({"tasks": [{**TASK, "title": "a\x00"}]}, {"tasks[0].title"}),
        ('{"tasks": [{"title": "\\ud800", "description": "d"}]}', {"tasks[0].title"}),
        ({"tasks": [{**TASK, "notifications": {"rules": ["\x00"]}}]}, None),
        ({"tasks": [{**TASK, "priority": 0}]}, {"tasks[0].priority"}),
        ({"tasks": [{**TASK, "maxRetries": 1.5}]}, {"tasks[0].maxRetries"}),
        ({"tasks": [{**TASK, "maxDuration": -1}]}, {"tasks[0].maxDuration"}),
        ({"tasks": [{**TASK, "deadline": "soon"}]}, {"tasks[0].deadline"}),
        ({"tasks": [{**TASK, "sideEffects": "no"}]}, {"tasks[0].sideEffects"}),
        ({"tasks": [{**TASK, "retryPolicy": []}]}, {"tasks[0].retryPolicy"}),
        ({"tasks": [{**TASK, "expectations": [{"type": "x"}]}]}, {"tasks[0].expectations[0].type"}),
        ({"tasks": [TASK], "qualityThreshold": 6}, {"qualityThreshold"}),
        ({"tasks": [TASK], "schedule": "0 0 30 2 *"}, {"schedule"}),
        ({"tasks": [TASK], "schedule": "tomorrow"}, {"schedule"}),
        ({"tasks": [TASK], "endDate": 7}, {"endDate"}),
        ({"tasks": [TASK], "notifications": {"rule": 1}}, {"notifications.rule"}),
        ({"tasks": [TASK], "team": [{"name": "x"}, {"name": "x"}]}, {"team[1].name"}),
        ({"tasks": [TASK], "team": [{"name": "x", "reasoning": "hard"}]}, {"team[0].reasoning"}),
    ],
)
def test_a_bad_document_is_refused_at_its_places(raw, places):
    expected = places or {"tasks[0].notifications", "tasks[0].notifications.rules[0]"}
    assert set(refusals(raw)) == expected


def test_titles_are_unique_and_dependencies_known():
    tasks = [TASK, {**SECOND, "title": "a", "dependsOn": ["a", "x"]}]
    assert refusals({"tasks": tasks}) == {
        "tasks[0].title": ["Names are unique: 'a' is not."],
        "tasks[1].title": ["Names are unique: 'a' is not."],
        "tasks[1].dependsOn[0]": ["'a' waits for itself."],
        "tasks[1].dependsOn[1]": ["There is no 'x'."],
    }


def test_forward_references_are_fine_and_cycles_are_not():
    assert parse_document({"tasks": [SECOND, TASK]}).tasks[0].depends_on == ("a",)
    cycle = {"tasks": [{**TASK, "dependsOn": ["b"]}, SECOND]}
    (message,) = refusals(cycle)["tasks[0].dependsOn"]
    assert message == "These wait for each other: a -> b -> a."


SIDES = {"afterTasks": ["a"], "blocksTasks": ["b"]}


@pytest.mark.parametrize(
    ("more", "places"),
    [
        (
            {"checkpoints": [{"name": "x", **SIDES, "afterTasks": []}]},
            {"checkpoints[0].afterTasks"},
        ),
        (
            {"delays": [{"name": "x", **SIDES, "blocksTasks": ["z"], "duration": "PT1S"}]},
            {"delays[0].blocksTasks[0]"},
        ),
        (
            {"qualityGates": [{"name": "x", **SIDES}, {"name": "x", **SIDES}]},
            {"qualityGates[0].name", "qualityGates[1].name"},
        ),
        ({"qualityGates": [{"name": "x", **SIDES, "minScore": 0}]}, {"qualityGates[0].minScore"}),
        ({"delays": [{"name": "x", **SIDES}]}, {"delays[0].duration"}),
        ({"delays": [{"name": "x", **SIDES, "duration": "1 hour"}]}, {"delays[0].duration"}),
        (
            {
                "qualityGates": [{"name": "x", **SIDES}],
                "delays": [{"name": "x", **SIDES, "afterTasks": ["z"], "duration": "PT1S"}],
            },
            {"delays[0].afterTasks[0]", "delays[0].blocksTasks[0]"},
        ),
    ],
)
def test_a_bad_barrier_is_refused_at_its_place(more, places):
    assert set(refusals(with_second(**more))) == places


def test_a_blocked_task_must_itself_depend_on_what_is_waited_for():
    tasks = [TASK, SECOND, {**TASK, "title": "c"}]
    stop = {"name": "x", "afterTasks": ["a", "c"], "blocksTasks": ["b"]}
    assert refusals({"tasks": tasks, "checkpoints": [stop]}) == {
        "checkpoints[0].blocksTasks[0]": ["'b' must depend on 'c' itself."]
    }


def test_a_document_has_an_end():
    many = [{"title": f"t{n}", "description": "d"} for n in range(10_000)]
    assert set(refusals({"tasks": many[:1_001]})) == {"tasks"}
    assert "Must be" not in str(refusals({"tasks": many})["data"])
    assert len(parse_document({"tasks": many[:1_000]}).graph().nodes) == 1_000
    assert set(refusals({"tasks": [{**TASK, "description": "é" * 140_000}]})) == {"data"}
    assert set(refusals({"tasks": [{**TASK, "description": "x" * 100_001}]})) == {
        "tasks[0].description"
    }


def test_an_object_that_is_not_json_is_refused():
    assert set(refusals({"tasks": [{1, 2}]})) == {"data"}
