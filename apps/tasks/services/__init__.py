"""Verbs on tasks; one module a group of them."""

from __future__ import annotations

from apps.tasks.services.moving import (
    force,
    hold_tasks,
    lock_task,
    move,
    refresh_ready,
    release_tasks,
)

__all__ = ["force", "hold_tasks", "lock_task", "move", "refresh_ready", "release_tasks"]
