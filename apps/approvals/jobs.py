"""The sweep over overdue requests."""

from __future__ import annotations

from celery import shared_task

from apps.approvals import sweeper


@shared_task(name="approvals.expire_overdue")
def expire_overdue() -> int:
    """A bounded batch a tick; the beat calls again."""
    return sweeper.expire_overdue()
