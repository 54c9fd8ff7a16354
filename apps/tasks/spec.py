"""What a task is measured by: expectations, metrics, outcomes, the policy of retries.

Plain Python (contract/polpo.md §5.2, §6.1). Every parser takes JSON as it came and its place in the
request, and raises `core.reading.InvalidFields` with all problems; `as_json` of `core.reading` spells the
results as the wire does. Unknown keys are refused: a misspelt `treshold` would be a check that is not made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from apps.core.reading import ALWAYS, Fields, Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_EXPECTATIONS = 50
MOST_METRICS = 50
MOST_OUTCOMES = 50
MOST_DIMENSIONS = 20
MOST_RETRIES = 100
MOST_RULES = 100  # of notification
DEFAULT_THRESHOLD = 3.0
LOWEST_SCORE, HIGHEST_SCORE = 1.0, 5.0
OUTCOME_TYPES = ("file", "text", "url", "json", "media")
EXPECTATION_TYPES = ("test", "script", "file_exists", "llm_review")
CONFIDENCES = ("firm", "estimated")

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class CommandExpectation:
    """`test` or `script`: passes when the command ends with 0."""

    type: str
    command: str
    confidence: str = "firm"


@dataclass(frozen=True, slots=True)
class FilesExpectation:
    """Every path (relative to the working folder) exists. Estimated paths may be corrected (§6.5)."""

    paths: tuple[str, ...]
    confidence: str = "estimated"
    type: str = field(default="file_exists", metadata=ALWAYS)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing a reviewer scores from 1 to 5. `rubric`: "1".."5" -> what that score means."""

    name: str
    description: str
    weight: float
    rubric: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReviewExpectation:
    """Passes when the weighted score of reviewers reaches `threshold` (1-5).

    Without dimensions the reviewers choose theirs from `criteria`.
    """

    criteria: str = ""
    dimensions: tuple[Dimension, ...] = ()
    threshold: float = DEFAULT_THRESHOLD
    confidence: str = "firm"
    type: str = field(default="llm_review", metadata=ALWAYS)


Expectation = CommandExpectation | FilesExpectation | ReviewExpectation


@dataclass(frozen=True, slots=True)
class Metric:
    """Passes when the number that `command` prints is at least `threshold`."""

    name: str
    command: str
    threshold: float


@dataclass(frozen=True, slots=True)
class ExpectedOutcome:
    """Something the task should leave behind."""

    type: str
    label: str
    description: str = ""
    path: str = ""
    mime_type: str = ""
    required: bool = True
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """From attempt `escalate_after` on, the fallback agent or model takes over."""

    escalate_after: int | None = None
    fallback_agent: str = ""
    escalate_model: str = ""


def parse_expectations(raw: Any, place: str) -> tuple[Expectation, ...]:
    return _each(raw, place, _expectation, MOST_EXPECTATIONS)


def parse_metrics(raw: Any, place: str) -> tuple[Metric, ...]:
    return _each(raw, place, _metric, MOST_METRICS)


def parse_expected_outcomes(raw: Any, place: str) -> tuple[ExpectedOutcome, ...]:
    return _each(raw, place, _outcome, MOST_OUTCOMES)


def parse_retry_policy(raw: Any, place: str) -> RetryPolicy | None:
    """None when there is none."""
    if raw is None:
        return None
    problems = Problems()
    with Fields(raw, place, problems) as entry:
        policy = RetryPolicy(
            escalate_after=entry.whole("escalateAfter", 0, MOST_RETRIES),
            fallback_agent=entry.name("fallbackAgent"),
            escalate_model=entry.name("escalateModel"),
        )
    problems.raise_any()
    return policy


def parse_notifications(raw: Any, place: str) -> Mapping[str, Any] | None:
    """`{rules[], inherit?}`: looked at, and kept as they came for what sends them."""
    if raw is None:
        return None
    problems = Problems()
    with Fields({"notifications": raw}, place.rpartition(".")[0], problems) as outer:
        kept = outer.json("notifications")
    with Fields(kept or {}, place, problems) as entry:
        entry.flag("inherit")
        for where, rule in entry.items("rules", most=MOST_RULES):
            if not isinstance(rule, dict):
                problems.note(where, "Must be an object.")
    problems.raise_any()
    return kept


def _each(
    raw: Any, place: str, read: Callable[[Fields], Made | None], most: int
) -> tuple[Made, ...]:
    problems = Problems()
    made = []
    for where, value in problems.items(raw, place, most=most):
        with Fields(value, where, problems) as entry:
            made.append(read(entry))
    problems.raise_any()
    return tuple(item for item in made if item is not None)


def _expectation(entry: Fields) -> Expectation | None:
    kind = entry.choice("type", EXPECTATION_TYPES)
    if kind in {"test", "script"}:
        return CommandExpectation(
            type=kind,
            command=entry.text("command", required=True),
            confidence=entry.choice("confidence", CONFIDENCES, default="firm"),
        )
    if kind == "file_exists":
        return FilesExpectation(
            paths=entry.texts("paths", least=1, most=200, longest=1_000),
            confidence=entry.choice("confidence", CONFIDENCES, default="estimated"),
        )
    if kind == "llm_review":
        return _review(entry)
    # What the other keys should be, nobody can say without the type.
    entry.accept_rest()
    return None


def _review(entry: Fields) -> ReviewExpectation:
    # The upstream documentation's examples say `prompt`, and give a `weight` that nothing reads.
    criteria = entry.text("prompt")
    criteria = entry.text("criteria") or criteria
    entry.accept("weight")
    dimensions = [
        _dimension(value, place, entry.problems)
        for place, value in entry.items("dimensions", most=MOST_DIMENSIONS)
    ]
    if not criteria and not dimensions:
        entry.refuse("criteria", "A review needs criteria or at least one dimension.")
    if dimensions and not sum(dimension.weight for dimension in dimensions):
        entry.refuse("dimensions", "At least one dimension needs a weight above 0.")
    threshold = entry.number("threshold", LOWEST_SCORE, HIGHEST_SCORE)
    return ReviewExpectation(
        criteria=criteria,
        dimensions=tuple(dimensions),
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
        confidence=entry.choice("confidence", CONFIDENCES, default="firm"),
    )


def _dimension(raw: Any, place: str, problems: Problems) -> Dimension:
    with Fields(raw, place, problems) as entry:
        return Dimension(
            name=entry.name("name", required=True),
            description=entry.text("description", longest=2_000, required=True),
            weight=entry.number("weight", 0.0, 1.0, required=True) or 0.0,
            rubric=_rubric(entry),
        )


def _rubric(entry: Fields) -> Mapping[str, str] | None:
    raw = entry.raw("rubric")
    if raw is None:
        return None
    with Fields(raw, entry.at("rubric"), entry.problems) as scores:
        texts = {score: scores.text(score, longest=2_000) for score in ("1", "2", "3", "4", "5")}
    return {score: text for score, text in texts.items() if text} or None


def _metric(entry: Fields) -> Metric:
    return Metric(
        name=entry.name("name", required=True),
        command=entry.text("command", required=True),
        threshold=entry.number("threshold", -1e15, 1e15, required=True) or 0.0,
    )


def _outcome(entry: Fields) -> ExpectedOutcome:
    return ExpectedOutcome(
        type=entry.choice("type", OUTCOME_TYPES),
        label=entry.name("label", required=True),
        description=entry.text("description", longest=2_000),
        path=entry.text("path", longest=1_000),
        mime_type=entry.name("mimeType"),
        required=entry.flag("required", default=True),
        tags=entry.texts("tags", most=50),
    )
