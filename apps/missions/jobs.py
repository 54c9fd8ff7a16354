"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from apps.core.actor import Actor
from apps.missions import services


@shared_task(name="missions.advance", ignore_result=True)
def advance(*, workspace_id: str, mission_id: str, **_: Any) -> None:
    services.advance(Actor.for_system(UUID(workspace_id)), UUID(mission_id))


@shared_task(name="missions.wake_due", ignore_result=True)
def wake_due(**_: Any) -> None:
    services.wake_due()
