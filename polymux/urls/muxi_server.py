"""The table of contents of the muxi_server surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.formations.api import muxi_server as formations
from apps.surfaces import muxi_server
from apps.surfaces.fallback import ending

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *formations.urlpatterns,
    *ending(muxi_server.SURFACE),
]
