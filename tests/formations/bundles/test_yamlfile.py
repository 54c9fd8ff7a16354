"""YAML as formations may use it: with lines, and without what YAML can do to a reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.formations.bundles import BundleError
from apps.formations.bundles.yamlfile import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: ~\nb: null\nc:\n", {"a": None, "b": None, "c": None}),
        ("a: yes\nb: Off\nc: TRUE\n", {"a": True, "b": False, "c": True}),
        (
            "a: 1\nb: -0x1F\nc: 0o17\nd: 017\ne: 1_000\n",
            {"a": 1, "b": -31, "c": "0o17", "d": 15, "e": 1000},
        ),
        (
            "a: 1.5\nb: 1.2.3\nc: 1e3\nd: 2.0e+3\n",
            {"a": 1.5, "b": "1.2.3", "c": "1e3", "d": 2000.0},
        ),
        ("a: 2026-01-02\nb: 10:30\nc: 09:00\n", {"a": "2026-01-02", "b": "10:30", "c": "09:00"}),
        ("on: 1\nyes: 2\n1: 3\n", {"on": 1, "yes": 2, "1": 3}),
        ("a: '1'\nb: \"yes\"\nc: !!str 5\n", {"a": "1", "b": "yes", "c": "5"}),
        ("a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        ("x: &x [1]\ny: *x\n", {"x": [1], "y": [1]}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values_are_those_of_json(text, value):
    assert parse(text, "f").value == value


def test_each_part_knows_its_line():
    document = parse("a: 1\n\nb:\n  - x\n  - c: |\n      long\n      text\n", "f", first_line=10)
    lines = [document.line(at) for at in [("a",), ("b",), ("b", 1), ("b", 1, "c"), ("b", 9), ()]]
    assert lines == [10, 12, 14, 14, 12, 10]


def test_a_part_is_a_document_with_the_lines_of_the_file():
    document = parse("a:\n  - b: 1\n    c: 2\n", "f")
    part = document.part(("a", 0), document.value["a"][0])
    assert (part.file, part.value, part.line(("c",)), part.line(())) == (
        "f",
        {"b": 1, "c": 2},
        3,
        2,
    )


LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1\nb: 2\n", "f:2: Is not YAML: "),
        ("a: 1\n b: 2\n", "f:2: Is not YAML"),
        ("a: 1\na: 2\n", "f:2: The key 'a' is there twice."),
        ("a: 1\n---\nb: 2\n", "f:2: Is more than one YAML document."),
        (
            "a: !!python/object/apply:os.system [x]\n",
            "f:1: The tag tag:yaml.org,2002:python/object",
        ),
        ("a: !!binary aGk=\n", "f:1: The tag tag:yaml.org,2002:binary is not allowed."),
        ("a: !mine x\n", "f:1: The tag !mine is not allowed."),
        ("a: !!set {x}\n", "f:1: The tag tag:yaml.org,2002:set is not allowed."),
        ("? [a, b]\n: 1\n", "f:1: A key must be text."),
        ("a: *nobody\n", "f:1: The alias *nobody has no anchor before it."),
        ("a: &a [*a]\n", "f:1: The alias *a has no anchor before it."),
        ("a: &a {<<: *a}\n", "f:1: The alias *a has no anchor before it."),
        ("a: {<<: 5}\n", "f:1: What is merged by << must be a mapping."),
        (LAUGHS, "Holds more than 20000 values."),
        ("[" * 40 + "]" * 40, "f:1: Is nested deeper than 30 levels."),
        ("[" * 100_000, "f:1: Is nested deeper than 30 levels."),
        ("a: .inf\n", "f:1: Is no number that JSON knows."),
        ("a: .nan\n", "f:1: Is no number that JSON knows."),
        ("a: 1.0e+999\n", "f:1: Is a number that is too large"),
        ("a: 1" + "0" * 20 + "\n", "f:1: Is a number that is too large"),
        ("a: 1" + "0" * 9_000 + "\n", "f:1: Is no number that JSON knows."),
        ("a: !!int x\n", "f:1: Is no number that JSON knows."),
        ("a: !!int ''\n", "f:1: Is no number that JSON knows."),
        ("a: !!bool x\n", "f:1: Is neither true nor false."),
        ('a: "x\\0y"\n', "f:1: Holds a character that is no text."),
        ("a: x\0y\n", "f:1: Is not YAML"),
        ("a: \ud800\n", "f:1: Is not YAML"),
    ],
)
def test_what_yaml_could_do_to_a_reader_is_refused_with_its_line(text, problem):
    with pytest.raises(BundleError) as caught:
        parse(text, "f")
    assert caught.value.type_name == "ParseError"
    assert problem in caught.value.message


@settings(max_examples=100, deadline=None)
@given(st.text("ab:-*&<!{}[],|>'\"#%@` \n\t\0é0.", max_size=60))
def test_any_text_is_a_value_of_json_or_an_error_with_a_line(text):
    try:
        found = parse(text, "f").value
    except BundleError as error:
        found = error.line
    assert found is None or (found and isinstance(found, int)) or json.dumps(found)
