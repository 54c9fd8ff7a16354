"""Cron against a slow oracle that looks at every minute, in zones whose clocks jump in every way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.cron import (
    Cron,
    CronInvalid,
    in_minutes,
    next_after,
    parse_cron,
    parse_when,
    read_zone,
)

MINUTE = timedelta(minutes=1)
# Half an hour (Lord Howe), two hours (Troll), at midnight (Beirut, Santiago, Cairo), backwards in winter
# (Casablanca, Dublin), a whole day that never was (Apia 2011), three hours back (Casey 2023).
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Asia/Beirut",
    "America/Santiago",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Pacific/Apia",
    "Antarctica/Casey",
    "Pacific/Chatham",
    "Asia/Kolkata",
    "UTC",
]


@cache
def jumps(zone: str) -> list[datetime]:
    """The instants, to the minute, at which clocks there were or will be set."""
    here = ZoneInfo(zone)
    days = [datetime(2010, 12, 1, tzinfo=UTC) + timedelta(days=n) for n in range(16 * 365)]
    found = []
    for a, b in pairwise(days):
        old, new = (at.astimezone(here).utcoffset() for at in (a, b))
        if old != new:
            minutes = (a + MINUTE * n for n in range(1441))
            found.append(next(at for at in minutes if at.astimezone(here).utcoffset() != old))
    return found or [datetime(2026, 3, 28, tzinfo=UTC)]


@st.composite
def moments_near_a_jump(draw):
    zone = draw(st.sampled_from(ZONES))
    shift = timedelta(minutes=draw(st.integers(-240, 200)), seconds=draw(st.integers(0, 59)))
    return zone, draw(st.sampled_from(jumps(zone))) + shift


@st.composite
def fields(draw, low, high, *, most=4):
    """(text, what it means), the meaning found without the parser."""
    kind = draw(st.sampled_from(["*", "list", "range", "step", "from"]))
    if kind == "*":
        return draw(st.sampled_from(["*", "?", "*/1"])), None
    a, b = sorted([draw(st.integers(low, high)), draw(st.integers(low, high))])
    step = draw(st.integers(1, 9))
    if kind == "list":
        values = draw(st.lists(st.integers(low, high), min_size=1, max_size=most))
        return ",".join(map(str, values)), set(values)
    if kind == "range":
        return f"{a}-{b}/{step}", {value for value in range(a, b + 1) if (value - a) % step == 0}
    start = low if kind == "step" else a
    text = f"*/{step + 1}" if kind == "step" else f"{a}/{step + 1}"
    return text, {value for value in range(start, high + 1) if (value - start) % (step + 1) == 0}


@st.composite
def expressions(draw):
    """(text, does a wall time match?, does it name an hour?); dates rarely restricted: windows are short."""
    any_hour = st.just(("*", None))
    parts = [draw(fields(0, 59)), draw(st.one_of(any_hour, fields(0, 23)))]
    parts += [draw(st.one_of(st.just(("*", None)), fields(1, 31))), ("*", None)]
    parts += [draw(st.one_of(st.just(("*", None)), fields(0, 6)))]
    minutes, hours, days, _, weekdays = (meaning for _, meaning in parts)

    def matches(wall):
        by_day, by_weekday = wall.day in (days or ()), wall.isoweekday() % 7 in (weekdays or ())
        free = days is None and weekdays is None
        at = wall.minute in (minutes or range(60)) and wall.hour in (hours or range(24))
        return at and (free or by_day or by_weekday)

    names_an_hour = hours is not None and len(hours) < 24
    return " ".join(text for text, _ in parts), matches, names_an_hour


def firings_by_looking(matches, names_an_hour, zone, start, end):
    """Every minute from five hours before `start`: what does the clock on the wall show, and what did it skip?"""
    found, seen, before = [], set(), None
    at = (start - timedelta(hours=5)).replace(second=0)
    while at <= end:
        wall = at.astimezone(zone).replace(tzinfo=None, fold=0)
        skipped = []
        if names_an_hour and before is not None:
            gap = int((wall - before) / MINUTE)
            skipped = [before + MINUTE * n for n in range(1, gap)]
        new = wall not in seen or not names_an_hour
        if at > start and any(matches(t) for t in [*skipped, *([wall] if new else [])]):
            found.append(at)
        seen.update([wall, *skipped])
        before, at = wall, at + MINUTE
    return found


@settings(max_examples=120, deadline=None)
@given(expressions(), moments_near_a_jump())
def test_cron_fires_when_the_oracle_says(expression, near):
    text, matches, names_an_hour = expression
    zone, start = ZoneInfo(near[0]), near[1]
    end = start + timedelta(hours=14)
    expected = firings_by_looking(matches, names_an_hour, zone, start, end)
    found, at = [], start
    for _ in expected[:60]:
        at = next_after(text, at, zone)
        found.append(at)
    assert found == expected[:60]
    if len(expected) < 60:
        following = next_after(text, at, zone)
        assert following is None or following > end


def dates_by_looking(months, days, weekdays, start):
    for number in range(9 * 366):
        day = start.date() + timedelta(days=number)
        at = datetime(day.year, day.month, day.day, 3, 30, tzinfo=UTC)
        free = not days and not weekdays
        fits = free or day.day in (days or ()) or day.isoweekday() % 7 in (weekdays or ())
        if at > start and day.month in (months or range(1, 13)) and fits:
            return at
    return None


@settings(max_examples=80, deadline=None)
@given(
    fields(1, 31, most=2),
    fields(1, 12, most=2),
    fields(0, 6, most=2),
    st.integers(0, 90 * 365 * 1440).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + n * MINUTE),
)
def test_rare_dates_are_found_and_impossible_ones_refused(day, month, weekday, start):
    text = f"30 3 {day[0]} {month[0]} {weekday[0]}"
    # 400 years have every date: a date that is not in the years around a leap day is in none.
    possible = dates_by_looking(month[1], day[1], weekday[1], datetime(2023, 1, 1, tzinfo=UTC))
    if possible is None:
        with pytest.raises(CronInvalid, match="never fire"):
            parse_cron(text)
    else:
        assert next_after(text, start) == dates_by_looking(month[1], day[1], weekday[1], start)


def times(expression, start, zone, count=3):
    at, found = datetime.fromisoformat(start), []
    for _ in range(count):
        at = next_after(expression, at, ZoneInfo(zone))
        found.append(at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


def test_a_time_in_the_gap_fires_once_at_its_end():
    expected = ["2026-03-29T03:00+02:00", "2026-03-30T02:15+02:00", "2026-03-30T02:45+02:00"]
    assert times("15,45 2 * * *", "2026-03-28T12:00Z", "Europe/Berlin") == expected


def test_a_time_that_comes_twice_fires_at_the_first():
    expected = ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00", "2026-10-27T02:30+01:00"]
    assert times("30 2 * * *", "2026-10-24T12:00Z", "Europe/Berlin") == expected


def test_an_hourly_job_keeps_its_distance_when_the_clock_jumps():
    spring = ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00", "2026-03-29T04:30+02:00"]
    assert times("30 * * * *", "2026-03-29T00:00Z", "Europe/Berlin") == spring
    autumn = ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"]
    assert times("30 * * * *", "2026-10-25T00:00Z", "Europe/Berlin") == autumn


def test_a_day_that_never_was_fires_on_the_morning_after():
    expected = ["2011-12-31T00:00+14:00", "2012-12-30T09:00+14:00"]
    assert times("0 9 30 12 *", "2011-12-29T00:00Z", "Pacific/Apia", 2) == expected


def test_the_leap_day_is_found_across_eight_years():
    assert times("0 0 29 2 *", "2096-03-01T00:00Z", "UTC", 1) == ["2104-02-29T00:00+00:00"]


def test_the_calendar_has_an_end():
    assert next_after("0 0 1 1 *", datetime(9998, 6, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sun", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 1 JAN-mar ?", "0 0 1 1-3 *"),
        ("*/90 0 * * *", "0 0 * * *"),
        ("50/5 0 * * *", "50,55 0 * * *"),
        (" 0  0 * * mon-FRI/2 ", "0 0 * * 1,3,5"),
    ],
)
def test_two_spellings_mean_the_same(one, other):
    def meaning(cron: Cron):
        return cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays

    assert meaning(parse_cron(one)) == meaning(parse_cron(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "@every 5m a b c",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "1- * * * *",
        "-1 * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "*/ * * * *",
        "* * L * *",
        "* * 15W * *",
        "* * * * 1#2",
        "TZ=UTC * * * *",
        "TZ=UTC * * * * *",
        "jan * * * *",
        "* * * sun *",
        "1.5 * * * *",
        "٣ * * * *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "*-5 * * * *",
        "* * * * sat-sun",
        "1/2/3 * * * *",
        "99999 * * * *",
    ],
)
def test_what_is_not_an_expression_is_refused(text):
    with pytest.raises(CronInvalid):
        parse_cron(text)


def test_an_expression_without_end_is_refused():
    with pytest.raises(CronInvalid):
        parse_cron("0," * 200 + "0 * * * *")


def test_a_schedule_is_an_expression_or_a_moment():
    assert parse_when("0 9 * * 1-5").hours == (9,)
    assert parse_when("2026-05-01T09:00:00+02:00") == datetime(2026, 5, 1, 7, tzinfo=UTC)
    assert parse_when("2026-05-01") == datetime(2026, 5, 1, tzinfo=UTC)
    for text in ("", "tomorrow", "2026-13-01", "0001-01-01T00:00:00+14:00", "9 9"):
        with pytest.raises(CronInvalid):
            parse_when(text)


@pytest.mark.parametrize(
    "name", ["", "Local", "localtime", "../etc/passwd", "/UTC", "Mars/Base", "Europe", "a\x00b"]
)
def test_what_is_not_a_zone_is_refused(name):
    with pytest.raises(ValueError, match="time zone"):
        read_zone(name)


def test_a_zone_is_found_by_name():
    assert read_zone("Europe/Berlin").key == "Europe/Berlin"


@pytest.mark.parametrize("text", ["0 9 * * 1", "0 0 9 * * 1", "00 0 9 * * 1 *", "0 0 9 * * 1 ?"])
def test_seconds_stand_first_and_a_year_last(text):
    assert in_minutes(text) == "0 9 * * 1"


@pytest.mark.parametrize("text", ["*/5 0 9 * * 1", "30 0 9 * * 1", "0 0 9 * * 1 2027"])
def test_a_schedule_knows_neither_seconds_nor_years(text):
    with pytest.raises(CronInvalid):
        in_minutes(text)
