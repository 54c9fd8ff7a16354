"""Time on the wire. Deadlines use `time.monotonic`; leases compare with the database's `now()`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_STARTED = time.monotonic()


def now() -> datetime:
    return datetime.now(UTC)


def uptime() -> int:
    """Whole seconds since this process started."""
    return int(time.monotonic() - _STARTED)


def rfc3339(moment: datetime | None) -> str | None:
    """`2026-05-21T10:00:00.123Z`, or None."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # In half the time of `isoformat(timespec="milliseconds")`: lists write a hundred of these.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (  # noqa: UP031
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond // 1000,
    )
