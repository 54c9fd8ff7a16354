"""What a workspace chooses for itself: the keys of `Workspace.settings`, their bounds, a typed reader.

default_model     "provider/model" used where nothing more specific is set; "" = the installation's
fallback_model    tried when the first one fails for good; "" = none
history           how much of a conversation a model sees: "full" (what fits its window) or "recent"
history_messages  with "recent": the last so many messages (1-1000)
token_budget      tokens a new session may spend; 0 = no limit
cost_budget_cents money a new session may spend, in cents; 0 = no limit
max_turn_steps    model calls in one turn (1-200)
tools_enabled     false: agents here get no tools at all
tools_need_approval names of tools that wait for a person (at most 100)
instructions      text put before every agent's own instructions (at most 20 000 characters)
timezone          the zone schedules and dates are told in
max_concurrency   tasks that may be at work at once; 0 = no limit but the workers'
max_retries       how often a failed task is tried again by itself (0-20)
max_fix_attempts  how often a result that was judged wanting is mended before that (0-10)
max_question_rounds how often an agent's question is answered for it (0-10)
max_resolution_attempts how often a task with a failed dependency is thought over (0-10)
task_timeout      milliseconds one attempt may take; 0 = no limit
stale_threshold   milliseconds without a sign of life before an attempt is warned of, twice that: ended
auto_correct_expectations whether estimated expectations may be corrected by what was really made
judge_model       "provider/model" that reviews results; "" = the workspace's default
quality_threshold average score (1-5) a mission must reach; 0 = none
volatile_cleanup  "on_complete": a mission's own agents leave with it; "manual": they stay
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from apps.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_SETTINGS = 64 * 1024  # bytes of JSON
HISTORY_RULES = ("full", "recent")


@dataclass(frozen=True, slots=True)
class Preferences:
    """A workspace's choices, with the defaults filled in. Read them with `read_preferences`."""

    default_model: str = ""
    fallback_model: str = ""
    history: str = "recent"
    history_messages: int = 50
    token_budget: int = 0
    cost_budget_cents: int = 0
    max_turn_steps: int = 25
    tools_enabled: bool = True
    tools_need_approval: tuple[str, ...] = ()
    instructions: str = ""
    timezone: str = "UTC"
    max_concurrency: int = 0
    max_retries: int = 3
    max_fix_attempts: int = 2
    max_question_rounds: int = 2
    max_resolution_attempts: int = 2
    task_timeout: int = 1_800_000
    stale_threshold: int = 300_000
    auto_correct_expectations: bool = True
    judge_model: str = ""
    quality_threshold: float = 0.0
    volatile_cleanup: str = "on_complete"


def defaults() -> dict[str, Any]:
    """What a new workspace starts with: nothing chosen, so that better defaults reach it later."""
    return {}


def read_preferences(settings: Mapping[str, Any]) -> Preferences:
    """`Workspace.settings` as typed values; a stored value that is no longer valid counts as unset."""
    known = {}
    for key, check in _CHECKS.items():
        if key in settings:
            try:
                known[key] = check(settings[key])
            except ValueError:
                continue
    return Preferences(**known)


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes` applied (None removes); InvalidInput names every bad key."""
    result, wrong = dict(settings), {}
    for key, value in changes.items():
        if key not in _CHECKS:
            wrong[key] = ["Unknown setting."]
        elif value is None:
            result.pop(key, None)
        else:
            try:
                result[key] = _storable(_CHECKS[key](value))
            except ValueError as refused:
                wrong[key] = [str(refused)]
    if not wrong and len(json.dumps(result).encode()) > LONGEST_SETTINGS:
        wrong["settings"] = ["The settings are too large."]
    if wrong:
        raise InvalidInput(fields=wrong)
    return result


def _storable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            raise ValueError(f"Must be text of at most {longest} characters.")
        return value

    return check


def _count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"Must be a whole number from {low} to {high}.")
        return value

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be true or false.")  # noqa: TRY004  (one error kind for all checks)
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"Use {' or '.join(words)}.")
        return str(value)

    return check


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("Must be a score from 1 to 5, or 0 for none.")  # noqa: TRY004
    if value != 0 and not 1 <= value <= 5:
        raise ValueError("Must be a score from 1 to 5, or 0 for none.")
    return float(value)


def _names(value: Any) -> tuple[str, ...]:
    right = isinstance(value, (list, tuple)) and len(value) <= 100
    if not right or not all(isinstance(name, str) and 0 < len(name) <= 100 for name in value):
        raise ValueError("Must be a list of at most 100 names.")
    return tuple(dict.fromkeys(value))


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(_text(64)(value)).key
    except (ValueError, KeyError, OSError):  # unknown, malformed, a folder of the zone database
        raise ValueError("Must name a time zone, such as Europe/Berlin.") from None


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "default_model": _text(200),
    "fallback_model": _text(200),
    "history": _one_of(*HISTORY_RULES),
    "history_messages": _count(1, 1000),
    "token_budget": _count(0, 10**12),
    "cost_budget_cents": _count(0, 10**9),
    "max_turn_steps": _count(1, 200),
    "tools_enabled": _flag,
    "tools_need_approval": _names,
    "instructions": _text(20_000),
    "timezone": _zone,
    "max_concurrency": _count(0, 10_000),
    "max_retries": _count(0, 20),
    "max_fix_attempts": _count(0, 10),
    "max_question_rounds": _count(0, 10),
    "max_resolution_attempts": _count(0, 10),
    "task_timeout": _count(0, 7 * 24 * 3_600_000),
    "stale_threshold": _count(1_000, 24 * 3_600_000),
    "auto_correct_expectations": _flag,
    "judge_model": _text(200),
    "quality_threshold": _score,
    "volatile_cleanup": _one_of("on_complete", "manual"),
}
assert set(_CHECKS) == {field.name for field in fields(Preferences)}
