"""Keeping the log within its retention."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from django.db import connection

log = logging.getLogger(__name__)

BATCH = 5_000
MOST_BATCHES = 200

# `ctid` of an unlocked prefix by age: short statements, so vacuum and writers go on beside it.
_DELETE = (
    "DELETE FROM events_event WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_event "
    "WHERE created_at < now() - make_interval(days => %s) ORDER BY created_at LIMIT %s))"
)


@shared_task(name="events.compact")
def compact(*, batch: int = BATCH, batches: int = MOST_BATCHES) -> int:
    """Delete facts older than EVENT_RETENTION_DAYS (default 30); returns how many. 0 days: keep all.

    The head row stays, so that numbers are never given twice.
    """
    days = getattr(settings, "EVENT_RETENTION_DAYS", 30)
    removed = 0
    for _ in range(batches if days > 0 else 0):
        with connection.cursor() as cursor:
            cursor.execute(_DELETE, [days, batch])
            count = cursor.rowcount
        removed += count
        if count < batch:
            break
    if removed:
        log.info("removed %d events older than %d days", removed, days)
    return removed
