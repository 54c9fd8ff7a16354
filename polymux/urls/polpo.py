"""The table of contents of the polpo surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.formations.api import polpo as agents
from apps.runs.api import polpo as processes
from apps.surfaces import polpo
from apps.surfaces.fallback import ending
from apps.workspaces.api import polpo as workspaces

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *workspaces.urlpatterns,
    *processes.urlpatterns,  # before the agents, whose names stand in the same place
    *agents.urlpatterns,
    *ending(polpo.SURFACE),
]
