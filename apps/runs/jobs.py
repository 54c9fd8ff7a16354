"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from apps.core.aio import spawn
from apps.runs import runner, services


@shared_task(name="runs.advance_run", ignore_result=True)
def advance_run(*, workspace_id: str, run_id: str, **_: Any) -> None:
    """Start a queued run on this process's loop. The job ends at once: the row holds the lease."""
    spawn(runner.advance(UUID(workspace_id), UUID(run_id)))


@shared_task(name="runs.sweep_leases", ignore_result=True)
def sweep_leases(**_: Any) -> None:
    """What was handed on is taken here: the nudge may go to a worker that has frozen."""
    if services.sweep_leases():
        wake_queued()


@shared_task(name="runs.wake_queued", ignore_result=True)
def wake_queued(**_: Any) -> None:
    """This process takes what it has room for."""
    for workspace_id, run_id in services.left_queued():
        spawn(runner.advance(workspace_id, run_id))
