"""What belongs to no surface: the start page, the documents, health and metrics."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from apps.surfaces import docs
from polymux import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("", docs.start),
    path("docs", docs.index),
    path("docs/", docs.index, name="docs"),
    path("docs/<slug:slug>/", docs.reader, name="docs-reader"),
    path("docs/<slug:slug>/openapi.json", docs.openapi_json, name="docs-openapi"),
    *health.urlpatterns,
]
