"""The table of contents of the polpo surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.surfaces import polpo
from apps.surfaces.fallback import ending
from apps.workspaces.api import polpo as workspaces

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *workspaces.urlpatterns,
    *ending(polpo.SURFACE),
]
