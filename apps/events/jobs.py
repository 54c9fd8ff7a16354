"""Keeping the log within its retention."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from apps.events.retention import remove_older

BATCH = 5_000
MOST_BATCHES = 200


@shared_task(name="events.compact")
def compact(*, batch: int = BATCH, batches: int = MOST_BATCHES) -> int:
    """Delete facts older than EVENT_RETENTION_DAYS (default 30; 0 keeps all); returns how many."""
    days = settings.EVENT_RETENTION_DAYS
    return remove_older(days, batch=batch, batches=batches) if days > 0 else 0
