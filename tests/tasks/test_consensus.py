"""What three reviewers agree on (contract/polpo.md §6.3)."""

from __future__ import annotations

import pytest

from apps.tasks.assessing.consensus import agreed, global_score
from apps.tasks.assessing.reviewers import Heard, check_of, invented


def score(value, name="correctness", weight=1.0, **more):
    return {
        "dimension": name,
        "score": value,
        "reasoning": f"gave {value}",
        "weight": weight,
        **more,
    }


@pytest.mark.parametrize(
    ("given", "consensus"),
    [
        ((4, 4, 4), 4),
        ((3, 4, 5), 4),
        ((5, 5, 1), 5),  # one far off does not count
        ((1, 3, 5), 3),  # both are far from the middle
        ((2, 3), 3),  # halves upwards
        ((1, 5), 3),  # both as far from the middle: both count
        ((4.4, 4.6, 5), 5),
    ],
)
def test_the_median_without_outliers_is_rounded(given, consensus):
    [one] = agreed([[score(value)] for value in given])
    assert one["score"] == consensus


def test_a_single_review_is_taken_as_it_is():
    assert agreed([[score(4.4)]])[0]["score"] == 4.4


def test_the_reasons_are_those_of_somebody_who_was_counted():
    [one] = agreed([[score(1, evidence=[{"file": "x", "note": "bad"}])], [score(4)], [score(4)]])
    assert (one["reasoning"], "evidence" in one) == ("gave 4", False)


def test_dimensions_are_judged_apart():
    reviews = [[score(5), score(1, "style")], [score(5), score(2, "style")]]
    assert {one["dimension"]: one["score"] for one in agreed(reviews)} == {
        "correctness": 5,
        "style": 2,
    }


def test_the_global_score_weighs_and_clamps():
    assert global_score([score(9, weight=0.75), score(1, weight=0.25)]) == 4.0
    assert global_score([score(4, weight=0), score(3, weight=0)]) == 3.5
    assert global_score([score(4, weight=1 / 3), score(3, weight=2 / 3)]) == 3.33


def test_one_reviewer_of_three_is_enough():
    review = {"scores": [score(4)], "summary": "Good.", "globalScore": 4.0}
    check = check_of([Heard(errors=["away"]), Heard(review), Heard(errors=["away"])], 3)
    assert (check["passed"], check["globalScore"]) == (True, 4.0)
    assert [one["index"] for one in check["reviewers"]] == [2]


def test_without_any_reviewer_the_check_fails_with_their_reasons():
    check = check_of([Heard(errors=["away"])] * 3, 3)
    assert check == {
        "type": "llm_review",
        "passed": False,
        "message": "No reviewer could judge: away",
    }


def test_invented_dimensions_are_normalised_or_refused():
    one, two = {"name": "a", "description": "A", "weight": 3}, {"name": "b", "description": "B"}
    made = invented([one, two | {"weight": 1}])
    assert [(dimension.name, dimension.weight) for dimension in made] == [("a", 0.75), ("b", 0.25)]
    assert invented([one]) == []
    assert invented([one, one]) == []
    assert invented([one | {"weight": 0}, two | {"weight": 0}]) == []
