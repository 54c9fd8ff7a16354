"""Celery doors: ids in, one call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task

from apps.conversations import services
from apps.conversations.services import webhooks
from apps.core.actor import Actor
from apps.core.aio import spawn


@shared_task(name="conversations.end_idle_sessions", ignore_result=True)
def end_idle_sessions(**_: Any) -> None:
    services.end_idle_sessions()


@shared_task(name="conversations.deliver_webhook", ignore_result=True)
def deliver_webhook(*, workspace_id: str, delivery_id: str, **_: Any) -> None:
    """Start sending on this process's loop. The job ends at once: the row is the record."""
    actor = Actor.for_system(UUID(workspace_id))
    spawn(webhooks.carry_webhook(actor, UUID(delivery_id)))


@shared_task(name="conversations.deliver_due", ignore_result=True)
def deliver_due(**_: Any) -> None:
    """What was left behind by a process that died, and nudges that were lost."""
    for workspace_id, delivery_id in webhooks.due_webhooks():
        spawn(webhooks.carry_webhook(Actor.for_system(workspace_id), delivery_id))


@shared_task(name="conversations.forget_requests", ignore_result=True)
def forget_requests(**_: Any) -> None:
    services.forget_requests()
