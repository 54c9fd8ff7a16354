"""The table of contents of the polpo surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import polpo
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(polpo.SURFACE),
]
