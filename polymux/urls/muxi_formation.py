"""The table of contents of the muxi_formation surface: the whole of what a formation's address has.

Paths are what follows the address: requests to a formation are resolved with this module
(`settings.FORMATION_URLCONF`). The main port has `keyed` below its own `/v1`, for keys of workspaces that
are nobody's home. What `FORMATION_STREAMS` of `polymux/asgi.py` serves stands here as `served_on_loop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import path, re_path

from apps.conversations.api import muxi_buffers as buffers
from apps.conversations.api import muxi_formation as conversations
from apps.conversations.api import muxi_status as status
from apps.formations.api import agent_card
from apps.formations.api import muxi_agents as agents
from apps.formations.api import muxi_documents as documents
from apps.formations.api import muxi_formation as formations
from apps.formations.api import muxi_people as people
from apps.knowledge.api import muxi_formation as memories
from apps.surfaces import docs, muxi_formation
from apps.surfaces.fallback import ending, unknown_route
from apps.tasks.api import muxi_formation as jobs
from apps.workspaces.api import muxi_formation as workspaces

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

# Routes that ask for a key, each app's own: `*agents.urlpatterns`, …
keyed: list[URLPattern | URLResolver] = [
    *documents.urlpatterns,
    *people.urlpatterns,
    *buffers.urlpatterns,
    *memories.urlpatterns,
    *jobs.urlpatterns,
    *conversations.urlpatterns,
    *status.urlpatterns,
    *formations.urlpatterns,
    *agents.urlpatterns,
    *workspaces.urlpatterns,
]

# Open to everybody, at a formation's own address only. Its page and its health are bare applications.
public: list[URLPattern | URLResolver] = [
    *agent_card.urlpatterns,
    path("docs", docs.formation_reader),
    path("openapi.json", docs.formation_json),
]

urlpatterns: list[URLPattern | URLResolver] = [
    *public,
    *keyed,
    *ending(muxi_formation.SURFACE),
    re_path(r"", unknown_route),
]

handler400 = "apps.surfaces.fallback.handler400"
handler403 = "apps.surfaces.fallback.handler403"
handler404 = "apps.surfaces.fallback.handler404"
handler500 = "apps.surfaces.fallback.handler500"
