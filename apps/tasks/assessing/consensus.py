"""From the scores of several reviewers to one (contract/polpo.md §6.3). Pure."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

from apps.tasks.spec import HIGHEST_SCORE, LOWEST_SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

FAR = 1.5  # from the median: such a score does not count
MOST_EVIDENCE = 10  # places shown for one dimension

Score = dict[str, Any]  # DimensionScore: dimension, score, reasoning, weight, evidence?


def clamped(score: float) -> float:
    return min(HIGHEST_SCORE, max(LOWEST_SCORE, score))


def global_score(scores: Sequence[Score]) -> float:
    """The weighted mean, 1 to 5, with two decimals. Without any weight all weigh the same."""
    weight: float = sum(score["weight"] for score in scores)
    if not scores:
        return LOWEST_SCORE
    if weight <= 0:
        return round(sum(clamped(score["score"]) for score in scores) / len(scores), 2)
    total: float = sum(clamped(score["score"]) * score["weight"] for score in scores)
    return round(total / weight, 2)


def agreed(reviews: Sequence[Sequence[Score]]) -> list[Score]:
    """What reviewers agree on, dimension by dimension in the first one's order.

    One review is taken as it is. Of more, those far from the median of a dimension are left out there.
    """
    if len(reviews) == 1:
        return [dict(score) for score in reviews[0]]
    order = {score["dimension"]: None for review in reviews for score in review}
    return [_one(name, reviews) for name in order]


def _one(name: str, reviews: Sequence[Sequence[Score]]) -> Score:
    given = [score for review in reviews for score in review if score["dimension"] == name]
    middle = median(score["score"] for score in given)
    # Never empty: the median lies among the scores, or halfway between two that are equally far.
    near = [score for score in given if abs(score["score"] - middle) <= FAR] or given
    value = clamped(rounded(median(score["score"] for score in near)))
    spokesman = min(near, key=lambda score: abs(score["score"] - value))
    made = {
        "dimension": name,
        "score": value,
        "reasoning": spokesman["reasoning"],
        "weight": spokesman["weight"],
    }
    evidence = [place for score in near for place in score.get("evidence") or ()]
    return made | ({"evidence": evidence[:MOST_EVIDENCE]} if evidence else {})


def rounded(score: float) -> float:
    """To a whole number, halves upwards."""
    return float(math.floor(score + 0.5))
