"""Keeping the log within its retention."""

from __future__ import annotations

from django.db import connection

# By `ctid` of a prefix by age: short statements, so that vacuum and writers go on beside it.
_DELETE = (
    "DELETE FROM events_event WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_event "
    "WHERE created_at < now() - make_interval(days => %s) ORDER BY created_at LIMIT %s))"
)


def remove_older(days: int, *, batch: int, batches: int) -> int:
    """Delete facts older than `days`, at most `batch` a statement; returns how many went.

    The head row stays, so that numbers are never given twice.
    """
    removed = 0
    for _ in range(batches):
        with connection.cursor() as cursor:
            cursor.execute(_DELETE, [days, batch])
            count = cursor.rowcount
        removed += count
        if count < batch:
            break
    return removed
