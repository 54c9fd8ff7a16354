"""The root: one table of contents a surface. Order matters where paths meet (design §1)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from apps.surfaces.fallback import ending, unknown_route
from apps.surfaces.muxi_formation import SURFACE
from polymux.urls import muxi_formation

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("polymux.urls.site")),
    path("", include("polymux.urls.openai")),
    path("", include("polymux.urls.polpo")),
    path("", include("polymux.urls.polyant")),
    path("", include("polymux.urls.molecule")),
    path("", include([*muxi_formation.keyed, *ending(SURFACE)])),
    path(
        "", include("polymux.urls.muxi_server")
    ),  # its ending takes what is left of /api and /draft
    path("", include("polymux.urls.console")),
    path("admin/", admin.site.urls),
    path("", include("polymux.urls.polymux")),
    re_path(r"", unknown_route),
]

handler400 = "apps.surfaces.fallback.handler400"
handler403 = "apps.surfaces.fallback.handler403"
handler404 = "apps.surfaces.fallback.handler404"
handler500 = "apps.surfaces.fallback.handler500"
