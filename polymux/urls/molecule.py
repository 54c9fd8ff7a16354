"""The table of contents of the molecule surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import molecule
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(molecule.SURFACE),
]
