"""What the platform does by itself again and again: the one list.

At start the list is copied into the scheduler's tables, where operators may change intervals or
switch jobs off; what they changed stays changed. Schedules that users make are not here: those are
rows of their own, claimed by a job of this list.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from apps.core.rows import execute


class Periodic(NamedTuple):
    """Job `job` every `seconds`, called `name` in the console."""

    name: str
    job: str
    seconds: int


PERIODIC = [
    Periodic("Sign of life of the worker", "platform.beat", 5),
    Periodic("Hand on runs whose worker died", "runs.sweep_leases", 1),
    Periodic("Wake queued runs", "runs.wake_queued", 2),
    Periodic("Start ready tasks, stop silent attempts", "tasks.sweep", 2),
    Periodic("Fire what is scheduled", "tasks.fire_schedules", 1),
    Periodic("Carry missions on", "missions.wake_due", 2),
    Periodic("Mend tasks, watch their deadlines", "tasks.mend", 30),
    Periodic("End idle sessions", "conversations.end_idle_sessions", 60),
    Periodic("Send webhooks that are due", "conversations.deliver_due", 5),
    Periodic("Forget old requests of end users", "conversations.forget_requests", 600),
    Periodic("Expire overdue approvals", "approvals.expire_overdue", 10),
    Periodic("Forget spent limits and replies", "surfaces.forget_expired", 600),
    Periodic("Forget old management calls", "formations.forget_calls", 3600),
    Periodic("Compact the event log", "events.compact", 3600),
]


_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('periodic.sync', 0))"


@transaction.atomic
def sync_periodic(known: set[str]) -> list[str]:
    """Add what the tables lack; returns the jobs that no part of this version offers.

    `known` are the jobs a worker has. A missing one is left out: a message that nobody understands,
    every few seconds, helps nobody.
    """
    execute(_ONE_AT_A_TIME, [])  # two beats that start together: the tables allow an interval twice
    missing = []
    for item in PERIODIC:
        if item.job not in known:
            missing.append(item.job)
            continue
        every = _interval(item.seconds)
        PeriodicTask.objects.get_or_create(
            name=item.name,
            defaults={
                "task": item.job,
                "interval": every,
                # A message older than its successor is of no use: do not let them pile up.
                "expire_seconds": max(item.seconds, 10),
            },
        )
    return missing


def _interval(seconds: int) -> IntervalSchedule:
    """The oldest, should there be several."""
    known = {"every": seconds, "period": IntervalSchedule.SECONDS}
    found = IntervalSchedule.objects.filter(**known).order_by("pk").first()
    return found or IntervalSchedule.objects.create(**known)
