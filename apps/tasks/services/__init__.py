"""Verbs on tasks; one module a group of them."""

from __future__ import annotations

from apps.tasks.services.dispatching import dispatch_tasks
from apps.tasks.services.moving import (
    force,
    hold_tasks,
    lock_task,
    move,
    refresh_ready,
    release_tasks,
)
from apps.tasks.services.outcomes import conclude
from apps.tasks.services.steering import force_fail_task, kill_task, queue_task, retry_task

__all__ = [
    "conclude",
    "dispatch_tasks",
    "force",
    "force_fail_task",
    "hold_tasks",
    "kill_task",
    "lock_task",
    "move",
    "queue_task",
    "refresh_ready",
    "release_tasks",
    "retry_task",
]
