"""The table of contents of the openai surface."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from apps.surfaces import openai
from apps.surfaces.fallback import ending

urlpatterns: list[URLPattern | URLResolver] = [
    *ending(openai.SURFACE),
]
