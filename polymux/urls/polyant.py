"""The table of contents of the polyant surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import polyant
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(polyant.SURFACE),
]
