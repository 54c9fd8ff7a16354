from __future__ import annotations

from django.apps import AppConfig


class MissionsConfig(AppConfig):
    name = "apps.missions"
    label = "missions"
