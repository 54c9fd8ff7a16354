"""A surface's table of contents, opened only for paths that are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import URLPattern, URLResolver
from django.urls.resolvers import RoutePattern

from apps.surfaces.prefixes import surface_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.urls import ResolverMatch

    from apps.surfaces.kit import Surface


class Contents(URLResolver):
    """As `path("", include(routes))`, but without trying them on what belongs to another surface.

    The routes of seven surfaces are three hundred regular expressions, and Django tries one after the
    other: a fifth of a list's time. `prefixes.surface_of` knows whose a path is.
    """

    def __init__(self, surface: Surface, routes: str | Sequence[URLPattern | URLResolver]) -> None:
        super().__init__(RoutePattern("", is_endpoint=False), routes)
        self.surface = surface

    def resolve(self, path: Any) -> ResolverMatch | None:  # type: ignore[override]
        if surface_of(f"/{path}") is not self.surface:
            return None
        return super().resolve(path)
