"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from apps.core.actor import Actor
from apps.tasks import sweeper
from apps.tasks.services.dispatching import dispatch_tasks
from apps.tasks.services.moving import DISPATCH
from apps.tasks.services.scheduling import fire_due


@shared_task(name=DISPATCH, ignore_result=True)
def dispatch(*, workspace_id: str, **_: Any) -> None:
    dispatch_tasks(Actor.for_engine(UUID(workspace_id)))


@shared_task(name="tasks.sweep", ignore_result=True)
def sweep(**_: Any) -> None:
    """Every two seconds: what somebody waits for."""
    sweeper.wake_dispatchers()
    sweeper.watch_attempts()


@shared_task(name="tasks.fire_schedules", ignore_result=True)
def fire_schedules(**_: Any) -> None:
    fire_due()


@shared_task(name="tasks.mend", ignore_result=True)
def mend(**_: Any) -> None:
    """Every half minute: what should not happen, and deadlines."""
    sweeper.mend_readiness()
    sweeper.recover_lost()
    sweeper.watch_deadlines()
