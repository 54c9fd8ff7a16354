"""The reader of strangers' JSON: what the parsers of tasks and missions have in common."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.core.reading import Fields, InvalidFields, Problems, read_instant


def problems_of(read, raw):
    problems = Problems()
    with Fields(raw, "x", problems) as entry:
        read(entry)
    return problems.fields


def test_null_is_the_same_as_absent():
    def read(entry):
        assert (entry.text("a"), entry.number("b", 0, 1), entry.flag("c")) == ("", None, False)
        assert (entry.texts("d"), entry.json("e"), entry.instant("f")) == ((), None, None)

    assert problems_of(read, dict.fromkeys("abcdef")) == {}
    assert problems_of(read, {}) == {}


def test_what_is_no_object_is_one_problem_and_not_many():
    assert problems_of(lambda entry: entry.name("a", required=True), ["a"]) == {
        "x": ["Must be an object."]
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "1", 2.001, -0.1])
def test_a_number_is_finite_and_in_range(value):
    assert set(problems_of(lambda entry: entry.number("a", 0, 2), {"a": value})) == {"x.a"}


@pytest.mark.parametrize(
    "value", [{"k": "\x00"}, {"\x00": 1}, {"k": ["\ud800"]}, {"k": float("nan")}, [], {"k": {1}}]
)
def test_kept_json_can_be_stored(value):
    assert set(problems_of(lambda entry: entry.json("a"), {"a": value})) == {"x.a"}


def test_kept_json_may_speak_of_escapes():
    kept = {"k": ["\\u0000", "\\\\u0000", "ok \\"]}
    assert problems_of(lambda entry: entry.json("a"), {"a": kept}) == {}


def test_moments_are_told_in_utc():
    nine = datetime(2026, 5, 1, 9, tzinfo=UTC)
    for text in ("2026-05-01T09:00:00Z", "2026-05-01T11:00:00+02:00", "2026-05-01T09:00"):
        assert read_instant(text) == nine
    for text in ("", "now", "2026-02-30", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"):
        with pytest.raises(ValueError, match="Must be a moment"):
            read_instant(text)


def test_an_error_reads_as_its_first_problem():
    assert str(InvalidFields({"a": ["One.", "Two."], "b": ["Three."]})) == "a: One."
