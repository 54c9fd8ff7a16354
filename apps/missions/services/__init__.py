"""Verbs on missions; one module a group of them."""

from __future__ import annotations

from apps.missions.services.advancing import advance, wake_due
from apps.missions.services.running import (
    abort_mission,
    execute_mission,
    resume_checkpoint,
    resume_mission,
)
from apps.missions.services.saving import create_mission, delete_mission, update_mission

__all__ = [
    "abort_mission",
    "advance",
    "create_mission",
    "delete_mission",
    "execute_mission",
    "resume_checkpoint",
    "resume_mission",
    "update_mission",
    "wake_due",
]
