"""Reading a stranger's JSON into our own types: every problem with its place, all of them at once.

A place is the path as the sender wrote it: `tasks[2].dependsOn[0]`. Readers never raise in the middle:
they note the problem, answer a harmless value, and `Problems.raise_any` ends the reading.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from apps.core.clock import rfc3339
from apps.core.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LONGEST_NAME = 200  # characters
LONGEST_TEXT = 100_000  # characters
MOST_PROBLEMS = 100  # places named; the rest would only repeat them
ALWAYS: Mapping[str, Any] = {"always": True}  # metadata of a field that `as_json` never leaves out
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# NUL as JSON spells it; the backslashes before it must not escape the escape.
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

Made = TypeVar("Made")


class InvalidFields(ValueError):
    """`fields`: place -> messages, ready for `InvalidInput(fields=...)`."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self.fields = dict(fields)
        place, messages = next(iter(self.fields.items()))
        super().__init__(f"{place}: {messages[0]}")


class Problems:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}

    def note(self, place: str, message: str) -> None:
        if place in self.fields or len(self.fields) < MOST_PROBLEMS:
            self.fields.setdefault(place, []).append(message)

    def attempt(self, parse: Callable[[Any, str], Made], raw: Any, place: str) -> Made | None:
        """`parse(raw, place)`; None when it raised `InvalidFields`, whose problems become ours."""
        try:
            return parse(raw, place)
        except InvalidFields as error:
            for where, messages in error.fields.items():
                for message in messages:
                    self.note(where, message)
            return None

    def raise_any(self) -> None:
        if self.fields:
            raise InvalidFields(self.fields)

    def items(
        self, raw: Any, place: str, *, most: int, least: int = 0
    ) -> Iterator[tuple[str, Any]]:
        """(place, value) of each entry of the list `raw`; None is an empty list."""
        raw = [] if raw is None else raw
        if not isinstance(raw, (list, tuple)):
            self.note(place, "Must be a list.")
        elif not least <= len(raw) <= most:
            self.note(place, f"Needs {least} to {most} entries; there are {len(raw)}.")
        else:
            yield from ((f"{place}[{number}]", value) for number, value in enumerate(raw))


class Fields:
    """The keys of one object, asked for one by one. null is the same as absent.

    Leave it as a context manager: keys that nobody asked for are then problems, too.
    """

    def __init__(self, raw: Any, place: str, problems: Problems) -> None:
        self.place = place
        self.problems = problems
        self._asked: set[str] = set()
        self._sound = isinstance(raw, dict)
        self._values: dict[str, Any] = raw if isinstance(raw, dict) else {}
        if not self._sound:
            problems.note(place or "body", "Must be an object.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in self._values:
            if key not in self._asked:
                self.refuse(str(key)[:LONGEST_NAME], "This field is not known.")

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def refuse(self, key: str, message: str) -> None:
        self.problems.note(self.at(key), message)

    def raw(self, key: str, *, required: bool = False) -> Any:
        self._asked.add(key)
        value = self._values.get(key)
        if value is None and required and self._sound:
            self.refuse(key, "This field is required.")
        return value

    def part(self, key: str) -> tuple[Any, str]:
        """(value, place), for a parser that reads further by itself."""
        return self.raw(key), self.at(key)

    def accept(self, *keys: str) -> None:
        """Known keys that have no effect here."""
        self._asked.update(keys)

    def accept_rest(self) -> None:
        self._asked.update(self._values)

    def text(self, key: str, *, longest: int = LONGEST_TEXT, required: bool = False) -> str:
        value = self.raw(key, required=required)
        return "" if value is None else self._text(value, self.at(key), longest)

    def name(self, key: str, *, required: bool = False) -> str:
        return self.text(key, longest=LONGEST_NAME, required=required)

    def texts(
        self, key: str, *, most: int = 1_000, least: int = 0, longest: int = LONGEST_NAME
    ) -> tuple[str, ...]:
        found = self.problems.items(self.raw(key), self.at(key), most=most, least=least)
        return tuple(self._text(value, place, longest) for place, value in found)

    def _text(self, value: Any, place: str, longest: int) -> str:
        if not isinstance(value, str):
            self.problems.note(place, "Must be text.")
        elif not value.strip():
            self.problems.note(place, "May not be blank.")
        elif len(value) > longest:
            self.problems.note(place, f"At most {longest} characters.")
        elif _UNSTORABLE.search(value):
            self.problems.note(place, "NUL characters and lone surrogates are not allowed.")
        else:
            return value
        return ""

    def number(self, key: str, low: float, high: float, *, required: bool = False) -> float | None:
        """A finite number from `low` to `high`."""
        value = self.raw(key, required=required)
        if value is None:
            return None
        sound = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Compared before it is converted: an integer of 400 digits is no float.
        if not sound or not low <= value <= high or not math.isfinite(value):
            self.refuse(key, f"Must be a number from {low:g} to {high:g}.")
            return None
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int | None:
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(key, f"Must be a whole number from {low} to {high}.")
            return None
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, "Must be true or false.")
        return default if value is None else value is True

    def choice(self, key: str, options: tuple[str, ...], *, default: str = "") -> str:
        """One of `options`; required when there is no `default`."""
        value = self.raw(key, required=not default)
        if value is not None and value not in options:
            self.refuse(key, f"Use one of {', '.join(options)}.")
        return value if value in options else default

    def instant(self, key: str) -> datetime | None:
        """An ISO-8601 moment; without an offset it is UTC."""
        return self.made(key, read_instant)

    def made(self, key: str, make: Callable[[str], Made]) -> Made | None:
        """`make(text)`; its ValueError's words are the problem."""
        text = self.name(key)
        try:
            return make(text) if text else None
        except ValueError as error:
            self.refuse(key, str(error))
            return None

    def json(self, key: str) -> dict[str, Any] | None:
        """An object that is kept as it came, without text that cannot be stored."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(key, "Must be an object.")
            return None
        try:
            spelled = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            self.refuse(key, "Must be plain JSON.")
            return None
        if _NUL_IN_JSON.search(spelled) or _UNSTORABLE.search(spelled):
            self.refuse(key, "NUL characters and lone surrogates are not allowed.")
        return value

    def items(self, key: str, *, most: int, least: int = 0) -> Iterator[tuple[str, Any]]:
        return self.problems.items(self.raw(key), self.at(key), most=most, least=least)


def read_instant(text: str) -> datetime:
    """An ISO-8601 moment in UTC; without an offset it already is. `ValueError` with a message."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("Must be a moment such as 2026-05-01T09:00:00Z.") from None


def as_json(value: Any, *, sparse: bool = False) -> Any:
    """A frozen dataclass as the wire spells it: camelCase keys, what is absent left out.

    `sparse`: what says no more than the default does is left out, too.
    """
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as it was written: 60000, not 60000.0
    if isinstance(value, tuple):
        return [as_json(item, sparse=sparse) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    found = ((field, getattr(value, field.name)) for field in fields_of(value))
    return {
        _camel(field.name): as_json(item, sparse=sparse)
        for field, item in found
        # An empty list where the default is None says something: nobody, as opposed to anybody.
        if item is not None
        and (field.metadata or not ((sparse or item in ("", ())) and item == field.default))
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
