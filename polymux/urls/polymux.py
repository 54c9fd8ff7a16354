"""The table of contents of the polymux surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import polymux
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(polymux.SURFACE),
]
