"""Expectations, metrics, outcomes and retry policies (contract/polpo.md §5.2, §6.1)."""

from __future__ import annotations

import pytest

from apps.core.reading import InvalidFields, as_json
from apps.tasks.spec import (
    CommandExpectation,
    Dimension,
    FilesExpectation,
    Metric,
    RetryPolicy,
    ReviewExpectation,
    parse_expectations,
    parse_expected_outcomes,
    parse_metrics,
    parse_retry_policy,
)


def refusals(parse, raw, place="x"):
    with pytest.raises(InvalidFields) as raised:
        parse(raw, place)
    return raised.value.fields


def test_each_type_is_read_with_its_defaults():
    raw = [
        {"type": "test", "command": "make test"},
        {"type": "script", "command": "set -x\ntrue", "confidence": "estimated"},
        {"type": "file_exists", "paths": ["a.py", "b/c.py"]},
        {"type": "file_exists", "paths": ["a.py"], "confidence": "firm"},
        {"type": "llm_review", "criteria": "good", "threshold": 5},
    ]
    assert parse_expectations(raw, "expectations") == (
        CommandExpectation("test", "make test", "firm"),
        CommandExpectation("script", "set -x\ntrue", "estimated"),
        FilesExpectation(("a.py", "b/c.py"), "estimated"),
        FilesExpectation(("a.py",), "firm"),
        ReviewExpectation("good", (), 5.0, "firm"),
    )
    assert parse_expectations([{"type": "llm_review", "criteria": "x"}], "")[0].threshold == 3.0


def test_a_review_is_read_with_dimensions_and_rubric():
    dimension = {
        "name": "n",
        "description": "d",
        "weight": 0.5,
        "rubric": {"1": "bad", "5": "good"},
    }
    raw = [{"type": "llm_review", "dimensions": [dimension]}]
    (review,) = parse_expectations(raw, "expectations")
    assert review.dimensions == (Dimension("n", "d", 0.5, {"1": "bad", "5": "good"}),)
    assert as_json(review) == {
        "dimensions": [dimension],
        "threshold": 3.0,
        "confidence": "firm",
        "type": "llm_review",
    }


def test_the_words_of_the_upstream_examples_are_taken():
    raw = [{"type": "llm_review", "prompt": "Is it right?", "weight": 0.5}]
    assert parse_expectations(raw, "x") == (ReviewExpectation("Is it right?"),)


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({}, "x[0].type"),
        ({"type": "lint", "command": "c"}, "x[0].type"),
        ({"type": ["test"]}, "x[0].type"),
        ({"type": "test"}, "x[0].command"),
        ({"type": "test", "command": "  "}, "x[0].command"),
        ({"type": "test", "command": "a\x00b"}, "x[0].command"),
        ({"type": "test", "command": "\ud800"}, "x[0].command"),
        ({"type": "test", "command": "c", "paths": []}, "x[0].paths"),
        ({"type": "test", "command": "c", "confidence": "sure"}, "x[0].confidence"),
        ({"type": "file_exists"}, "x[0].paths"),
        ({"type": "file_exists", "paths": ["a", ""]}, "x[0].paths[1]"),
        ({"type": "llm_review"}, "x[0].criteria"),
        ({"type": "llm_review", "criteria": "c", "threshold": 0.9}, "x[0].threshold"),
        ({"type": "llm_review", "criteria": "c", "threshold": float("nan")}, "x[0].threshold"),
        ({"type": "llm_review", "criteria": "c", "threshold": True}, "x[0].threshold"),
        ({"type": "llm_review", "criteria": "c", "treshold": 4}, "x[0].treshold"),
        ("test", "x[0]"),
    ],
)
def test_a_bad_expectation_is_refused_at_its_place(entry, place):
    assert set(refusals(parse_expectations, [entry])) == {place}


def test_all_problems_are_told_at_once():
    weightless = {"name": "n", "description": "d", "weight": 0}
    raw = [
        {"type": "test"},
        {"type": "llm_review", "dimensions": [{"name": "n", "weight": 2, "rubric": {"6": "x"}}]},
        {"type": "llm_review", "dimensions": [weightless]},
    ]
    assert set(refusals(parse_expectations, raw)) == {
        "x[0].command",
        "x[1].dimensions[0].description",
        "x[1].dimensions[0].weight",
        "x[1].dimensions[0].rubric.6",
        "x[1].dimensions",
        "x[2].dimensions",
    }


@pytest.mark.parametrize("raw", [{}, "x", 1, [{"type": "test", "command": "c"}] * 51])
def test_expectations_are_a_list_with_an_end(raw):
    assert set(refusals(parse_expectations, raw)) == {"x"}


@pytest.mark.parametrize(
    "parse", [parse_expectations, parse_metrics, parse_expected_outcomes, parse_retry_policy]
)
def test_nothing_said_is_nothing_wanted(parse):
    assert not parse(None, "x")


def test_a_metric_has_a_name_a_command_and_a_number():
    raw = {"name": "coverage", "command": "cov", "threshold": 80}
    assert parse_metrics([raw], "m") == (Metric("coverage", "cov", 80.0),)
    assert parse_metrics([{**raw, "threshold": 0}], "m")[0].threshold == 0.0
    assert set(refusals(parse_metrics, [{"threshold": 10**400}])) == {
        "x[0].name",
        "x[0].command",
        "x[0].threshold",
    }


def test_an_outcome_is_required_unless_it_says_otherwise():
    raw = {"type": "file", "label": "Report", "mimeType": "text/plain", "tags": ["a"]}
    (outcome,) = parse_expected_outcomes([raw], "o")
    assert as_json(outcome) == {**raw, "required": True}
    (other,) = parse_expected_outcomes([{**raw, "required": False}], "o")
    assert not other.required
    assert set(refusals(parse_expected_outcomes, [{"type": "pdf"}])) == {"x[0].type", "x[0].label"}


def test_a_retry_policy_says_when_and_to_whom():
    raw = {"escalateAfter": 0, "fallbackAgent": "ann"}
    policy = parse_retry_policy(raw, "p")
    assert policy == RetryPolicy(0, "ann")
    assert as_json(policy) == raw
    wrong = {"escalateAfter": -1, "fallbackAgent": 7, "x": 1}
    assert set(refusals(parse_retry_policy, wrong)) == {
        "x.escalateAfter",
        "x.fallbackAgent",
        "x.x",
    }


def test_what_is_wrong_a_thousand_times_is_told_a_hundred_times():
    raw = [{"type": "file_exists", "paths": [""] * 200}]
    assert len(refusals(parse_expectations, raw)) == 100
