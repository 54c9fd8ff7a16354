from __future__ import annotations

from django.apps import AppConfig


class SurfacesConfig(AppConfig):
    name = "apps.surfaces"
    label = "surfaces"
