"""Celery doors of formations."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from apps.formations.services.calls import forget_old_calls


@shared_task(name="formations.forget_calls")
def forget_calls() -> int:
    """Keep the record of management calls within POLYMUX_SERVER_LOG_DAYS; how many went."""
    return forget_old_calls(settings.SERVER_LOG_DAYS)
