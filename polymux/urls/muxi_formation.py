"""The table of contents of the muxi_formation surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import muxi_formation
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(muxi_formation.SURFACE),
]
