"""What an assessment has found, as it is told, stored and handed to the next brief. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.clock import now, rfc3339
from apps.tasks.assessing.checks import label_of
from apps.tasks.assessing.reviewers import threshold_of, with_threshold
from apps.tasks.events import AssessmentCompleted, CheckCompleted, CheckStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

Result = dict[str, Any]
POOR = 3.0  # a dimension with less is named in the next brief


def kind_of(asked: Mapping[str, Any]) -> str:
    """The type of an expectation; `metric` for a metric."""
    return str(asked.get("type") or "metric")


def is_unheard(check: Mapping[str, Any]) -> bool:
    """A review that failed since nobody could judge."""
    return check["type"] == "llm_review" and not check.get("reviewers")


def result_of(
    checks: Sequence[Result], metrics: Sequence[Result], *, trigger: str, exit_code: int
) -> Result:
    """AssessmentResult (contract §6.4), and `message`: what did not pass, in words.

    Checks that pass say nothing of an attempt that failed: then one more check does.
    """
    found = list(checks)
    passed = all(one["passed"] for one in (*checks, *metrics))
    if passed and exit_code:
        words = f"The attempt itself failed (exit code {exit_code})."
        found.append({"type": "script", "passed": False, "message": words})
    scores = [score for check in checks for score in check.get("scores") or ()]
    means = [check["globalScore"] for check in checks if "globalScore" in check]
    reviews = [check["details"] for check in checks if check.get("reviewers")]
    return {
        "passed": passed and not exit_code,
        "checks": found,
        "metrics": list(metrics),
        "review": "\n".join(text for text in reviews if text),
        "scores": scores,
        "globalScore": round(sum(means) / len(means), 2) if means else None,
        "trigger": trigger,
        "timestamp": rfc3339(now()),
        "message": failures(found, metrics),
    }


def failures(checks: Sequence[Result], metrics: Sequence[Result]) -> str:
    """What did not pass, a paragraph each; "" when everything did."""
    lines = [_check(check) for check in checks if not check["passed"]]
    lines += [_metric(metric) for metric in metrics if not metric["passed"]]
    return "\n".join(lines)


def _check(check: Result) -> str:
    lines = [f"- {check['type']}: {check['message']}"]
    if check.get("details"):
        lines.append(str(check["details"]))
    poor = (score for score in check.get("scores") or () if score["score"] <= POOR)
    lines += [f"  {one['dimension']} {one['score']:g}/5: {one['reasoning']}" for one in poor]
    return "\n".join(lines)


def _metric(metric: Result) -> str:
    value = "no number" if metric["value"] is None else f"{metric['value']:g}"
    words = f"- metric {metric['name']}: {value}, at least {metric['threshold']:g} needed."
    return f"{words} {metric.get('message') or ''}".strip()


def completed(task_id: UUID, result: Result) -> AssessmentCompleted:
    return AssessmentCompleted(
        task_id=task_id,
        passed=result["passed"],
        scores=result["scores"],
        global_score=result["globalScore"],
        message=result["message"][:2_000],
    )


def carried_over(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], result: Result
) -> dict[int, Result]:
    """Place -> what need not be found out again: nothing has changed but the expectations.

    Scores stay when only the threshold they are held against was corrected.
    """
    checks, count = result["checks"], len(before)
    kept: dict[int, Result] = {
        count + place: metric for place, metric in enumerate(result["metrics"])
    }
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            kept[place] = checks[place]
        elif checks[place].get("reviewers"):
            kept[place] = with_threshold(checks[place], threshold_of(new))
    return kept


@dataclass(frozen=True, slots=True)
class Told:
    """One check as the stream hears of it. `place` counts from 0 among `total`."""

    task_id: UUID
    place: int
    total: int
    asked: Mapping[str, Any]

    def started(self) -> CheckStarted:
        return CheckStarted(**self._about())

    def completed(self, made: Mapping[str, Any]) -> CheckCompleted:
        words = str(made.get("message") or "")[:500]
        return CheckCompleted(**self._about(), passed=made["passed"], message=words)

    def _about(self) -> dict[str, Any]:
        kind = kind_of(self.asked)
        return {
            "task_id": self.task_id,
            "index": self.place,
            "total": self.total,
            "type": kind,
            "label": str(self.asked["name"]) if kind == "metric" else label_of(self.asked),
        }
