"""The table of contents of the muxi_server surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import muxi_server
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(muxi_server.SURFACE),
]
