"""The table of contents of the polpo surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.conversations.api import polpo as conversations
from apps.knowledge.api import polpo as knowledge
from apps.surfaces import polpo
from apps.surfaces.fallback import ending

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *conversations.urlpatterns,
    *knowledge.urlpatterns,
    *ending(polpo.SURFACE),
]
