"""Verbs on tasks; one module a group of them."""

from __future__ import annotations

from apps.tasks.services.changing import (
    absorb_dependency,
    fail_tasks,
    kill_mission_tasks,
    remove_mission_tasks,
    remove_task,
    remove_tasks,
    retry_tasks,
)
from apps.tasks.services.creating import build_task, create_task, save_tasks, update_task
from apps.tasks.services.dispatching import dispatch_tasks
from apps.tasks.services.judging import await_review, reassess_task
from apps.tasks.services.moving import (
    force,
    hold_tasks,
    lock_task,
    move,
    refresh_ready,
    release_tasks,
)
from apps.tasks.services.outcomes import conclude
from apps.tasks.services.scheduling import (
    change_schedule,
    fire_due,
    remove_schedule,
    set_schedule,
    switch_schedule,
)
from apps.tasks.services.steering import force_fail_task, kill_task, queue_task, retry_task

__all__ = [
    "absorb_dependency",
    "await_review",
    "build_task",
    "change_schedule",
    "conclude",
    "create_task",
    "dispatch_tasks",
    "fail_tasks",
    "fire_due",
    "force",
    "force_fail_task",
    "hold_tasks",
    "kill_mission_tasks",
    "kill_task",
    "lock_task",
    "move",
    "queue_task",
    "reassess_task",
    "refresh_ready",
    "release_tasks",
    "remove_mission_tasks",
    "remove_schedule",
    "remove_task",
    "remove_tasks",
    "retry_task",
    "retry_tasks",
    "save_tasks",
    "set_schedule",
    "switch_schedule",
    "update_task",
]
