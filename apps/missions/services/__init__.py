"""Verbs on missions; one module a group of them."""

from __future__ import annotations

from apps.missions.services.advancing import advance, wake_due
from apps.missions.services.editing import (
    add_entry,
    change_entry,
    remove_entry,
    reorder_tasks,
    set_notifications,
)
from apps.missions.services.planning import (
    reschedule_mission,
    schedule_mission,
    unschedule_mission,
)
from apps.missions.services.running import (
    abort_mission,
    execute_mission,
    resume_checkpoint,
    resume_mission,
)
from apps.missions.services.saving import create_mission, delete_mission, update_mission

__all__ = [
    "abort_mission",
    "add_entry",
    "advance",
    "change_entry",
    "create_mission",
    "delete_mission",
    "execute_mission",
    "remove_entry",
    "reorder_tasks",
    "reschedule_mission",
    "resume_checkpoint",
    "resume_mission",
    "schedule_mission",
    "set_notifications",
    "unschedule_mission",
    "update_mission",
    "wake_due",
]
