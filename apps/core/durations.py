"""ISO-8601 durations of a fixed length: weeks, days, hours, minutes, seconds.

Years and months are refused: how long they are depends on where they begin. `P1W2D` is taken although
the standard wants weeks to stand alone. A day is 24 hours. Fractions may stand at the last number only
and count to the microsecond.
"""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=3_660)  # ten years: a moment plus this one is still a moment
_NUMBER = r"(\d{1,12}(?:[.,]\d{1,9})?)"
_SHAPE = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.ASCII,
)
_SECONDS = (604_800, 86_400, 3_600, 60, 1)


def parse_duration(text: str) -> timedelta:
    """`PT90S`, `P1DT12H`, `P2W` as a length of time; `ValueError` with words for the sender."""
    match = _SHAPE.fullmatch(text)
    parts = [] if match is None else match.groups()
    given = [part for part in parts if part is not None]
    if not given or text.endswith("T") or any("." in p or "," in p for p in given[:-1]):
        raise ValueError(
            "Must be a duration such as PT30M, PT12H, P2D or P1W (no years, no months)."
        )
    length = sum(
        (_length(part, unit) for part, unit in zip(parts, _SECONDS, strict=True)), timedelta()
    )
    if length > LONGEST:
        raise ValueError(f"At most {LONGEST.days} days.")
    return length


def _length(part: str | None, unit: int) -> timedelta:
    whole, _, fraction = (part or "0").replace(",", ".").partition(".")
    # In integers: 0.1 + 0.2 seconds is 0.3 seconds.
    micros = int(whole) * unit * 1_000_000 + int(fraction.ljust(9, "0")) * unit // 1_000
    return timedelta(microseconds=min(micros, 10**18))


def duration_text(length: timedelta) -> str:
    """`P1DT2H30M`: the shortest spelling with days, hours, minutes and seconds."""
    if length < timedelta():
        raise ValueError("A duration is not negative.")
    hours, rest = divmod(length.seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    exact = f"{seconds}.{length.microseconds:06}".rstrip("0").rstrip(".")
    exact = str(seconds) if not length.microseconds else exact
    parts = [(hours, f"{hours}H"), (minutes, f"{minutes}M"), (float(exact), f"{exact}S")]
    time = "".join(text for value, text in parts if value)
    day = f"{length.days}D" if length.days else ""
    return f"P{day}{'T' + time if time else ''}" if day or time else "PT0S"
