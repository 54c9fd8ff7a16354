"""The table of contents of the OpenAI surface. `POST /v1/chat/completions` is served on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import path

from apps.conversations.api import openai as conversations
from apps.surfaces import openai
from apps.surfaces.fallback import ending, served_on_loop

if TYPE_CHECKING:
    from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = [
    *conversations.urlpatterns,
    path("v1/chat/completions", served_on_loop("POST")),
    *ending(openai.SURFACE),
]
