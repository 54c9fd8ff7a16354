"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from polymux.embedded import watch


@shared_task(name="platform.beat", ignore_result=True)
def beat(**_: Any) -> None:
    watch.record_heartbeat()


@shared_task(name="platform.wake", ignore_result=True)
def wake(**_: Any) -> None:
    """Nothing: that it arrives is all (`Worker.close`)."""
