"""The table of contents of the polpo surface. `GET …/events` and `…/ws` are served on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.conversations.api import polpo as conversations
from apps.events.api import polpo as events
from apps.formations.api import polpo as agents
from apps.knowledge.api import polpo as knowledge
from apps.missions.api import polpo as missions
from apps.runs.api import polpo as processes
from apps.surfaces import polpo
from apps.surfaces.fallback import ending, served_on_loop
from apps.tasks.api import polpo as tasks
from apps.workspaces.api import polpo as workspaces

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *tasks.urlpatterns,
    *missions.urlpatterns,
    *processes.urlpatterns,  # before the agents, whose names stand in the same place
    *agents.urlpatterns,
    *conversations.urlpatterns,
    *knowledge.urlpatterns,
    *workspaces.urlpatterns,
    *events.urlpatterns,
    *polpo.on_projects("events", served_on_loop("GET")),
    *ending(polpo.SURFACE),
]
