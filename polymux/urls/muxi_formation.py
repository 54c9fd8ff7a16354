"""The table of contents of the muxi_formation surface: the whole of what a formation's address has.

Paths are what follows the address: requests to a formation are resolved with this module
(`settings.FORMATION_URLCONF`). The main port has `keyed` below its own `/v1`, for keys of workspaces that
are nobody's home. What `FORMATION_STREAMS` of `polymux/asgi.py` serves stands here as `served_on_loop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import re_path

from apps.conversations.api import muxi_buffers as buffers
from apps.conversations.api import muxi_formation as conversations
from apps.formations.api import muxi_documents as documents
from apps.formations.api import muxi_people as people
from apps.knowledge.api import muxi_formation as memories
from apps.surfaces import muxi_formation
from apps.surfaces.fallback import ending, unknown_route
from apps.tasks.api import muxi_formation as jobs

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
]

urlpatterns: list[URLPattern | URLResolver] = [
    *keyed,
    *ending(muxi_formation.SURFACE),
    re_path(r"", unknown_route),
]

handler400 = "apps.surfaces.fallback.handler400"
handler403 = "apps.surfaces.fallback.handler403"
handler404 = "apps.surfaces.fallback.handler404"
handler500 = "apps.surfaces.fallback.handler500"
