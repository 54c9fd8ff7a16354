"""The table of contents of the polpo surface. `GET …/events` and `…/ws` are served on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.events.api import polpo as events
from apps.surfaces import polpo
from apps.surfaces.fallback import ending, served_on_loop

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *events.urlpatterns,
    *polpo.on_projects("events", served_on_loop("GET")),
    *ending(polpo.SURFACE),
]
