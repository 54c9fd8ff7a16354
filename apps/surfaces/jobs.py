"""Celery doors of the surface kit."""

from __future__ import annotations

from celery import shared_task

from apps.surfaces import idempotency, ratewindow

BATCH = 1000
MAX_BATCHES = 50


@shared_task(name="surfaces.forget_expired")
def forget_expired() -> None:
    """Delete idempotent replies older than a day and rate windows that have ended, in batches."""
    for sweep in (idempotency.forget_expired, ratewindow.forget_expired):
        for _ in range(MAX_BATCHES):
            if sweep(BATCH) < BATCH:
                break
