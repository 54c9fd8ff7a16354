"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from apps.conversations import services


@shared_task(name="conversations.end_idle_sessions", ignore_result=True)
def end_idle_sessions(**_: Any) -> None:
    services.end_idle_sessions()
