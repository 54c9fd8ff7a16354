"""One assessment from beginning to end: every check at once, corrections, what is said meanwhile.

Everything is journaled under its name on the bench. Whoever takes the run over calls `assess` with the
same input and does only what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call, together
from apps.core.errors import DomainError
from apps.tasks.assessing import checks, corrections, questions, reviewers
from apps.tasks.assessing.material import load_material
from apps.tasks.assessing.results import (
    Told,
    carried_over,
    completed,
    is_unheard,
    kind_of,
    result_of,
)
from apps.tasks.events import AssessmentProgressed, AssessmentStarted
from apps.tasks.models import Trigger
from apps.tasks.services.correcting import correct_expectations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from apps.runs.bench import Bench
    from apps.tasks.assessing.corrections import Correction, Expectation
    from apps.tasks.assessing.material import Material

REASSESSMENT_TRIES = 1  # when no reviewer at all could judge

Result = dict[str, Any]


async def assess(bench: Bench, task_id: UUID, told: Mapping[str, Any]) -> dict[str, Any]:
    """`{"question": [question, answer]}`, or `{"assessments": [AssessmentResult, …]}`, the last of which
    is the verdict (none: there was nothing to judge).
    """
    material = await db_call(load_material, bench.actor, task_id, told)
    if material is None:
        return {"assessments": []}
    trigger = str(told["trigger"])
    if material.may_ask and trigger != Trigger.REASSESS:
        asked = await _asked(bench, material)
        if asked:
            return {"question": list(asked)}
    if not material.expectations and not material.metrics:
        return {"assessments": []}
    return {"assessments": await Assessing(bench, material, trigger).all()}


async def _asked(bench: Bench, material: Material) -> tuple[str, str] | None:
    try:
        models = await material.models()
    except DomainError:
        return None  # without a model nobody asks or answers; the result is judged as it is
    return await questions.answered(bench, material, models)


@dataclass(slots=True)
class Assessing:
    """The rounds of one review."""

    bench: Bench
    material: Material
    trigger: str

    async def all(self) -> list[Result]:
        """Every round's AssessmentResult, oldest first."""
        expectations = self.material.expectations
        results = [await self._heard_round(expectations)]
        found = await self._correction(expectations, results[-1])
        if found is None:
            return results
        correction, trigger = found
        if not await self._corrected(correction, results[-1]):
            return results
        kept = carried_over(expectations, correction.expectations, results[-1])
        results.append(await self._round("2", correction.expectations, trigger, kept))
        return results

    # --- A round ------------------------------------------------------------------------------
    async def _heard_round(self, expectations: Sequence[Expectation]) -> Result:
        """The first round; again when nobody could be heard."""
        result = await self._round("1", expectations, self.trigger, {})
        for again in range(REASSESSMENT_TRIES):
            if not any(is_unheard(check) for check in result["checks"]):
                break
            await self._say("again", "No reviewer could be heard; assessing once more.")
            result = await self._round(f"1-{again + 2}", expectations, self.trigger, {})
        return result

    async def _round(
        self,
        name: str,
        expectations: Sequence[Expectation],
        trigger: str,
        kept: Mapping[int, Result],
    ) -> Result:
        metrics, task_id = self.material.metrics, self.material.task_id
        asked: list[Mapping[str, Any]] = [*expectations, *metrics]
        told = [
            Told(task_id, place, len(asked), one)
            for place, one in enumerate(asked)
            if place not in kept
        ]
        started = AssessmentStarted(task_id=task_id)
        await self.bench.tell(f"{name}:started", started, *(one.started() for one in told))
        made = await together(*(self._check(f"{name}:{one.place}", one) for one in told))
        found = dict(kept) | {one.place: result for one, result in zip(told, made, strict=True)}
        ordered = [found[place] for place in range(len(asked))]
        count = len(expectations)
        return result_of(
            ordered[:count], ordered[count:], trigger=trigger, exit_code=self._exit_code()
        )

    def _exit_code(self) -> int:
        """Who asks for another judgement asks about what is there, not how the attempt ended."""
        return 0 if self.trigger == Trigger.REASSESS else self.material.exit_code

    async def _check(self, name: str, told: Told) -> Result:
        async def work() -> Result:
            return await self._made(name, told.asked)

        found: Result = await self.bench.step(name, work, news=lambda made: [told.completed(made)])
        return found

    async def _made(self, name: str, asked: Mapping[str, Any]) -> Result:
        kind, root = kind_of(asked), self.material.root
        if kind == "metric":
            return await checks.measure(root, asked)
        if kind == "file_exists":
            return await checks.look_for(root, asked)
        if kind in {"test", "script"}:
            return await checks.run_test(root, asked)
        try:
            models = await self.material.models()
        except DomainError as refused:
            words = f"No reviewer could judge: {refused.message}"
            return {"type": kind, "passed": False, "message": words}
        return await reviewers.reviewed(self.bench, self.material, models, asked, key=name)

    async def _say(self, name: str, words: str) -> None:
        fact = AssessmentProgressed(task_id=self.material.task_id, message=words)
        await self.bench.tell(name, fact)

    # --- Corrections --------------------------------------------------------------------------
    async def _correction(
        self, expectations: Sequence[Expectation], result: Result
    ) -> tuple[Correction, str] | None:
        """How the expectations should have been, and why there is another round (contract §6.5)."""
        wanted = self.material.preferences.auto_correct_expectations
        metrics_pass = all(metric["passed"] for metric in result["metrics"])
        if result["passed"] or not wanted or not metrics_pass:
            return None
        if self.trigger == Trigger.REASSESS or self.material.exit_code:
            return None
        correction = await self._relocated(expectations, result["checks"])
        if correction is not None:
            return correction, Trigger.AUTO_CORRECT
        judged = await self._judged(expectations, result)
        return None if judged is None else (judged, Trigger.JUDGE)

    async def _relocated(
        self, expectations: Sequence[Expectation], found: Sequence[Result]
    ) -> Correction | None:
        """Journaled: files may move before another worker takes over."""

        async def search() -> Any:
            made = await corrections.found_elsewhere(self.material, expectations, found)
            return made and [made.expectations, made.changes]

        answer = await self.bench.step("relocate", search)
        return answer and corrections.Correction(*answer)

    async def _judged(
        self, expectations: Sequence[Expectation], result: Result
    ) -> Correction | None:
        try:
            models = await self.material.models()
        except DomainError:
            return None
        score = result.get("globalScore")
        return await corrections.judged(
            self.bench, self.material, models, expectations, result["checks"], score=score
        )

    async def _corrected(self, correction: Correction, judged: Result) -> bool:
        async def write() -> bool:
            return await db_call(
                correct_expectations,
                self.bench.actor,
                self.material.task_id,
                before=self.material.expectations,
                after=correction.expectations,
                corrections=correction.changes,
                completed=completed(self.material.task_id, judged),
            )

        done: bool = await self.bench.step("correct", write)
        return done
