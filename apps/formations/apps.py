from __future__ import annotations

from django.apps import AppConfig


class FormationsConfig(AppConfig):
    name = "apps.formations"
    label = "formations"
