"""Where the marks of a graph stand, and what is drawn of them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from apps.console.drawing import draw_graph
from apps.console.layout import MOST_BANDS, MOST_MARKS, Mark, bands_of, layers_of
from apps.console.mission_page import planned


def mark(key, *after, state="pending", kind="task"):
    return Mark(key, f"Title {key}", state, after, kind, row_id=key if kind == "task" else "")


def keys(layers):
    return [{mark.key for mark in layer} for layer in layers]


def drawn(marks):
    """The SVG as an XML tree: it must be one."""
    return ET.fromstring(str(draw_graph(marks, "Hole")))


def numbers(text):
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_a_mark_stands_after_the_longest_way_to_it():
    marks = [mark("a"), mark("b", "a"), mark("c", "b"), mark("d", "a", "c"), mark("e")]
    assert keys(layers_of(marks)) == [{"a", "e"}, {"b"}, {"c"}, {"d"}]


def test_what_waits_for_a_removed_task_stands_as_if_it_did_not():
    assert keys(layers_of([mark("a", "gone"), mark("b", "a")])) == [{"a"}, {"b"}]


def test_a_circle_ends_up_last_instead_of_nowhere():
    marks = [mark("a"), mark("b", "c"), mark("c", "b")]
    assert keys(layers_of(marks)) == [{"a"}, {"b", "c"}]


def test_marks_of_a_layer_stand_where_what_they_wait_for_stands():
    marks = [mark("a"), mark("b"), mark("y", "b"), mark("x", "a")]
    assert [each.key for each in layers_of(marks)[1]] == ["x", "y"]


def test_a_document_is_drawn_with_its_barriers_between():
    document = {
        "tasks": [
            {"title": "Dig", "description": "-"},
            {"title": "Fill", "description": "-", "dependsOn": ["Dig"]},
        ],
        "checkpoints": [{"name": "look", "afterTasks": ["Dig"], "blocksTasks": ["Fill"]}],
    }
    marks = planned(document)
    assert keys(layers_of(marks)) == [{"Dig"}, {"checkpoint:look"}, {"Fill"}]
    lines = next(mark for mark in marks if mark.key == "Fill").after
    assert lines == ("checkpoint:look",), "not also around the barrier"


def test_each_task_is_drawn_once_with_its_state_and_its_name():
    svg = drawn([mark("a", state="done"), mark("b", "a", state="in_progress")])
    boxes = {box.get("data-task"): box for box in svg.iter("g")}
    assert {key: box.get("data-state") for key, box in boxes.items()} == {
        "a": "done",
        "b": "in_progress",
    }
    assert boxes["b"].find("title").text == "Title b: in progress"
    assert len(list(svg.iter("path"))) == 1
    assert "2 tasks" in svg.get("aria-label")


def test_lines_lead_from_left_to_right_and_nothing_is_drawn_outside():
    marks = [mark("a"), mark("g", "a", kind="gate"), *(mark(str(n), "g") for n in range(6))]
    svg = drawn(marks)
    width, height = float(svg.get("width")), float(svg.get("height"))
    for line in svg.iter("path"):
        begin_x, begin_y, *_, end_x, end_y = numbers(line.get("d"))
        assert 0 <= begin_x < end_x <= width
        assert 0 <= begin_y <= height
        assert 0 <= end_y <= height
    places = [numbers(box.get("transform")) for box in svg.iter("g")]
    assert len({tuple(place) for place in places}) == len(marks)
    assert all(0 <= x < width and 0 <= y < height for x, y in places)


def test_titles_are_escaped_and_cut():
    svg = str(draw_graph([Mark("a", "<script>alert(1)</script>" * 9, "pending")], "<b>"))
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "…" in svg


@pytest.mark.parametrize("shape", ["wide", "deep"])
def test_a_thousand_tasks_are_folded_into_few_bands(shape):
    count = 1_000
    after = {"wide": lambda n: (), "deep": lambda n: (str(n - 1),) if n else ()}[shape]
    marks = [mark(str(n), *after(n), state="done" if n % 2 else "pending") for n in range(count)]
    svg = drawn(marks)
    assert not [box for box in svg.iter("g") if box.get("data-task")]
    assert len(str(draw_graph(marks, "Hole"))) < 40_000
    words = " ".join(title.text for title in svg.iter("title"))
    told = sum(int(n) for n in re.findall(r"(\d+) (?:done|pending)", words))
    assert told == count
    bands = bands_of(layers_of(marks))
    assert len(bands) <= MOST_BANDS
    assert sum(band.tasks for band in bands) == count


def test_the_largest_graph_that_is_drawn_has_every_task():
    marks = [mark(str(n)) for n in range(MOST_MARKS)]
    assert len(list(drawn(marks).iter("g"))) == MOST_MARKS
    assert "folded" in drawn([*marks, mark("one more")]).get("aria-label")
