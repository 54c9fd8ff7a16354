"""Five-field cron in IANA zones (contract/polpo.md §7.7, contract/molecule.md §4.7).

minute 0-59, hour 0-23, day of month 1-31, month 1-12 or jan-dec, day of week 0-7 or sun-sat (0 and 7 are
Sunday). A field is `*`, `?` (the same), a value, a range `a-b`, a step `*/n`, `a-b/n` or `a/n` (from a to
the end), or a list of these; names in any case. No macros, no seconds, no `L`, `W`, `#`, no `TZ=`. One
grammar for all surfaces, since a schedule made through one of them shows in the others.

Day of month and day of week: when both are restricted, either may match; a field is unrestricted when
`*` or `?` stands in it without a step.

Clocks that jump. A time of day that does not exist (the gap in spring) fires at the first instant after
the gap; one that occurs twice fires once, at the first. An expression that names no hour (all 24 match)
means a distance, not a time of day: it fires in both copies of an hour and skips what does not exist, so
that `*/5 * * * *` is neither silent for an hour in autumn nor early in spring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from apps.core.reading import read_instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

LONGEST = 256  # characters
# 29 February can be eight years away (2096 to 2104); the ninth is for what is left of this one.
SEARCHED = timedelta(days=9 * 366)
# No clock has gone back further at once since 1970 (Antarctica/Casey).
LONGEST_REPEAT = timedelta(hours=3)

_JAN_DEC = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTHS = {name: number for number, name in enumerate(_JAN_DEC, start=1)}
_DAYS = {
    name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
}
_PART = re.compile(r"(\*|\?|(\w{1,3})(?:-(\w{1,3}))?)(?:/(\d{1,4}))?", re.ASCII)
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MINUTE: Final = timedelta(minutes=1)


class CronInvalid(ValueError):
    """The message says which field, in words for the sender."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    top: int  # the largest value that may be written: 7 is another Sunday
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, 59, {}),
    _Field("hour", 0, 23, 23, {}),
    _Field("day of month", 1, 31, 31, {}),
    _Field("month", 1, 12, 12, _MONTHS),
    _Field("day of week", 0, 6, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. `days` or `weekdays` is None when that field is unrestricted."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @property
    def names_no_hour(self) -> bool:
        return len(self.hours) == 24

    def falls_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day = self.days is not None and day.day in self.days
        by_weekday = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday or (self.days is None and self.weekdays is None)


def parse_cron(text: str) -> Cron:
    """`CronInvalid` for anything that is not an expression, and for one that can never fire."""
    words = text.split()
    if len(text) > LONGEST or len(words) != len(_FIELDS):
        raise CronInvalid("Must have five fields: minute hour day-of-month month day-of-week.")
    minutes, hours, days, months, weekdays = (
        _values(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    cron = Cron(
        text=" ".join(words),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=None if _is_free(words[2]) else frozenset(days),
        months=frozenset(months),
        weekdays=None if _is_free(words[4]) else frozenset(value % 7 for value in weekdays),
    )
    longest = max(_MOST_DAYS[month - 1] for month in months)
    if cron.days is not None and cron.weekdays is None and min(cron.days) > longest:
        raise CronInvalid("This date does not exist in any year, so the schedule would never fire.")
    return cron


def in_minutes(text: str) -> str:
    """Six or seven fields (seconds first, a year last) as the five that are kept; five as they are.

    Schedules fire on whole minutes and every year: `CronInvalid` for other seconds than 0 and for a
    year.
    """
    words = text.split()
    if len(words) not in (6, 7):
        return text
    if words[0] not in {"0", "00"}:
        raise CronInvalid(
            "Schedules fire on whole minutes: the seconds (the first field) must be 0."
        )
    if len(words) == 7 and words[6] not in {"*", "?"}:
        raise CronInvalid("The year (the seventh field) must be *.")
    return " ".join(words[1:6])


def _is_free(word: str) -> bool:
    return any(part in {"*", "?", "*/1", "?/1"} for part in word.split(","))


def _values(word: str, field: _Field) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronInvalid(f"The {field.name} is not valid: {part[:20]!r}.")
        found.update(_range(match, field))
    return found


def _range(match: re.Match[str], field: _Field) -> range:
    whole, first, last, step = match.groups()
    stride = 1 if step is None else int(step)
    if stride == 0:
        raise CronInvalid(f"The step of the {field.name} may not be 0.")
    if first is None:
        return range(field.low, field.high + 1, stride)
    low = _number(first, field)
    alone = low if step is None else max(low, field.high)
    high = alone if last is None else _number(last, field)
    if high < low:
        raise CronInvalid(f"The {field.name} runs backwards: {whole!r}.")
    return range(low, high + 1, stride)


def _number(word: str, field: _Field) -> int:
    value = int(word) if word.isdigit() else field.names.get(word.lower(), -1)
    if not field.low <= value <= field.top:
        raise CronInvalid(
            f"The {field.name} must be from {field.low} to {field.top}, not {word!r}."
        )
    return value


def parse_when(text: str) -> Cron | datetime:
    """What a schedule says: an expression, or one moment (ISO-8601, UTC unless it has an offset)."""
    if len(text.split()) == len(_FIELDS):
        return parse_cron(text)
    try:
        return read_instant(text.strip())
    except ValueError:
        raise CronInvalid(
            "Must be a five-field cron expression or a moment such as 2026-05-01T09:00:00Z."
        ) from None


def read_zone(name: str) -> ZoneInfo:
    """The IANA zone of this name; `ValueError` for others, and for this machine's own (`localtime`)."""
    try:
        if name.lower().startswith("local"):
            raise ValueError(name)
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # malformed, unknown, a folder of the zone database
        raise ValueError("Must name a time zone, such as Europe/Berlin.") from None


def next_after(expression: Cron | str, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
    """The first firing after `moment` (aware), in UTC; None when the calendar ends before it.

    `CronInvalid` for a text that does not parse.
    """
    cron = parse_cron(expression) if isinstance(expression, str) else expression
    wall = moment.astimezone(zone).replace(tzinfo=None, fold=0)
    if not cron.names_no_hour:
        return next((at for t in _wall_times(cron, wall) if (at := _first(t, zone)) > moment), None)
    around = {(moment + way * LONGEST_REPEAT).astimezone(zone).utcoffset() for way in (-1, 1)}
    if len(around) > 1:  # times that the wall showed before may come again
        wall -= LONGEST_REPEAT
    best: datetime | None = None
    for t in _wall_times(cron, wall):
        later = [at for at in _copies(t, zone) if at > moment]
        best = min([*later, best] if best else later, default=None)
        if later and later[0] == _first(t, zone):
            break  # from here on even the first copies are later
    return best


def _wall_times(cron: Cron, after: datetime) -> Iterator[datetime]:
    """The naive times that match, from the minute after `after` on, in order."""
    start = after.replace(second=0, microsecond=0) + _MINUTE
    for day in _days(cron, start.date()):
        for hour in cron.hours:
            for minute in cron.minutes:
                at = datetime.combine(day, time(hour, minute))
                if at >= start:
                    yield at


def _days(cron: Cron, first: date) -> Iterator[date]:
    day = first
    # The last year is left out: a moment in it may not exist in UTC.
    last = min(first, date(9998, 1, 1) - SEARCHED) + SEARCHED
    while day < last:
        if day.month not in cron.months:
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            continue
        if cron.falls_on(day):
            yield day
        day += timedelta(days=1)


def _copies(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The instants at which clocks in `zone` show `wall`: one, two, or none."""
    found = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in found if at.astimezone(zone).replace(tzinfo=None, fold=0) == wall)


def _first(wall: datetime, zone: tzinfo) -> datetime:
    """The first instant that shows `wall`, or the end of the gap that swallowed it."""
    copies = _copies(wall, zone)
    return copies[0] if copies else _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    # In a gap, fold=0 reads with the offset before it and lands after; fold=1 the other way round.
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    changed = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while low < high:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == changed:
            high = middle
        else:
            low = middle + 1
    return before + timedelta(seconds=low)
