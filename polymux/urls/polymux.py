"""The table of contents of the polymux surface (contract/polymux.md §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.conversations.api import polymux as conversations
from apps.surfaces import polymux
from apps.surfaces.fallback import ending
from apps.workspaces.api import polymux as workspaces

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *workspaces.urlpatterns,
    *conversations.urlpatterns,
    *ending(polymux.SURFACE),
]
