"""ISO-8601 durations there and back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.durations import LONGEST, duration_text, parse_duration


@given(st.timedeltas(timedelta(), LONGEST))
def test_a_duration_survives_being_written(length):
    assert parse_duration(duration_text(length)) == length


@given(*[st.integers(0, 400)] * 5)
def test_parts_add_up(weeks, days, hours, minutes, seconds):
    text = f"P{weeks}W{days}DT{hours}H{minutes}M{seconds}S"
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [
        ("PT0S", timedelta(), "PT0S"),
        ("P1W", timedelta(days=7), "P7D"),
        ("PT1.5H", timedelta(minutes=90), "PT1H30M"),
        ("PT0,3S", timedelta(milliseconds=300), "PT0.3S"),
        ("PT90M", timedelta(minutes=90), "PT1H30M"),
        ("P1DT0.000001S", timedelta(days=1, microseconds=1), "P1DT0.000001S"),
    ],
)
def test_known_spellings(text, length, short):
    assert parse_duration(text) == length
    assert duration_text(length) == short


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1",
        "1D",
        "P1Y",
        "P1M",
        "P1DT",
        "PT1D",
        "PT1H1H",
        "PT1M1H",
        "-PT1S",
        "PT-1S",
        "PT1.5H1M",
        "PT.5S",
        "PT1.S",
        "p1d",
        "P1D ",
        "P٣D",
        "P3661D",
        "PT999999999999H",
        "PT1e3S",
    ],
)
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match=r"Must be a duration|At most"):
        parse_duration(text)


def test_nothing_lasts_less_than_nothing():
    with pytest.raises(ValueError, match="negative"):
        duration_text(timedelta(seconds=-1))
