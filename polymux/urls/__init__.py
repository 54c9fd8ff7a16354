"""The root: one table of contents a surface. Order matters where paths meet (design §1)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from apps import surfaces  # by attribute: the modules here are called the same
from apps.surfaces.contents import Contents
from apps.surfaces.fallback import ending, unknown_route
from apps.surfaces.muxi_formation import SURFACE as FORMATION
from polymux.urls.muxi_formation import keyed

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("polymux.urls.site")),
    Contents(surfaces.openai.SURFACE, "polymux.urls.openai"),
    Contents(surfaces.polpo.SURFACE, "polymux.urls.polpo"),
    Contents(surfaces.polyant.SURFACE, "polymux.urls.polyant"),
    Contents(surfaces.molecule.SURFACE, "polymux.urls.molecule"),
    Contents(FORMATION, [*keyed, *ending(FORMATION)]),
    Contents(surfaces.muxi_server.SURFACE, "polymux.urls.muxi_server"),
    path("", include("polymux.urls.console")),
    path("admin/", admin.site.urls),
    Contents(surfaces.polymux.SURFACE, "polymux.urls.polymux"),
    re_path(r"", unknown_route),
]

handler400 = "apps.surfaces.fallback.handler400"
handler403 = "apps.surfaces.fallback.handler403"
handler404 = "apps.surfaces.fallback.handler404"
handler500 = "apps.surfaces.fallback.handler500"
