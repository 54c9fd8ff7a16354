"""The table of contents of the muxi_formation surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.surfaces import muxi_formation
from apps.surfaces.fallback import ending

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(muxi_formation.SURFACE),
]
