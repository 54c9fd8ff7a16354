"""What may stand in a task's fields: one check a field, from JSON to what is stored.

A check raises ValueError with words for people; `checked` collects all of them under the names that
the wire uses (contract/polpo.md §3.2 and §5.2).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.core.errors import InvalidInput
from apps.core.reading import InvalidFields, as_json, read_instant
from apps.tasks import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_TITLE = 500
MAX_GROUP = 300
# Together in one index entry, which PostgreSQL bounds at 2704 bytes.
MAX_TITLE_BYTES = 1_500
MAX_GROUP_BYTES = 900
MAX_TEXT = 100_000  # characters of a description
MAX_DURATION = 7 * 24 * 3_600_000  # ms


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Every field as it is stored; InvalidInput names all that are wrong."""
    values: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for name, value in fields.items():
        try:
            values[name] = CHECKS[name](value)
        except InvalidFields as error:
            wrong |= error.fields
        except ValueError as error:
            wrong[WIRE.get(name, name)] = [str(error)]
    if wrong:
        place, words = next(iter(wrong.items()))
        raise InvalidInput(f"{place}: {words[0]}", fields=wrong)
    return values


def _text(longest: int, *, bytes_: int = 0, empty: bool = False) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            raise ValueError(f"Must be text of at most {longest} characters.")
        if bytes_ and len(value.encode("utf-8", "surrogatepass")) > bytes_:
            raise ValueError(f"Must be at most {bytes_} bytes of UTF-8.")
        if not empty and not value.strip():
            raise ValueError("Must not be empty.")
        return value

    return check


def _count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        whole = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not whole or value != value // 1 or not low <= value <= high:
            raise ValueError(f"Must be a whole number from {low} to {high}.")
        return int(value)

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be true or false.")  # noqa: TRY004  (one error kind for all checks)
    return value


def _priority(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Compared, not converted: an integer of 400 digits is no float. NaN is not above 0.
    if not number or not 0 <= value <= 1_000_000:
        raise ValueError("Must be a number from 0 to 1000000.")
    return float(value)


def read_moment(value: Any) -> datetime | None:
    """A moment as JSON writes it, or None; ValueError."""
    if value is None or isinstance(value, datetime):
        return value
    return read_instant(value if isinstance(value, str) else "")


def _parsed(parse: Callable[[Any, str], Any], place: str) -> Callable[[Any], Any]:
    """What `spec` reads, kept as the wire spells it."""
    return lambda raw: as_json(parse(raw, place))


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


CHECKS: dict[str, Callable[[Any], Any]] = {
    "title": _text(MAX_TITLE, bytes_=MAX_TITLE_BYTES),
    "description": _text(MAX_TEXT),
    "assign_to": _text(100),
    "group": _text(MAX_GROUP, bytes_=MAX_GROUP_BYTES, empty=True),
    "expectations": _parsed(spec.parse_expectations, "expectations"),
    "metrics": _parsed(spec.parse_metrics, "metrics"),
    "expected_outcomes": _parsed(spec.parse_expected_outcomes, "expectedOutcomes"),
    "retry_policy": _parsed(spec.parse_retry_policy, "retryPolicy"),
    "notifications": _parsed(spec.parse_notifications, "notifications"),
    "side_effects": _flag,
    "max_duration": _or_none(_count(0, MAX_DURATION)),
    "max_retries": _or_none(_count(0, spec.MOST_RETRIES)),
    "retries": _count(0, 1_000),
    "priority": _priority,
    "deadline": read_moment,
}
WIRE = {
    "assign_to": "assignTo",
    "side_effects": "sideEffects",
    "max_duration": "maxDuration",
    "max_retries": "maxRetries",
}
