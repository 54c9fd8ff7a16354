"""`/docs/`: which API do I need? One page, one reader and one OpenAPI document a surface. Offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.surfaces import openapi
from apps.surfaces.fallback import unknown_route

if TYPE_CHECKING:
    from django.http import HttpRequest

# The reader sets styles on elements but runs no inline script and asks no other host.
READER_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
INDEX_CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """`/`: the console for people with a login, the documents for the rest."""
    signed_in = bool(getattr(request, "user", None) and request.user.is_staff)
    return HttpResponseRedirect("/admin/" if signed_in else "/docs/")


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The table of surfaces."""
    response = render(request, "surfaces/index.html", {"books": openapi.BOOKS})
    response["Content-Security-Policy"] = INDEX_CSP
    return response


@require_safe
def reader(request: HttpRequest, slug: str) -> HttpResponse:
    """One surface's document, readable."""
    book = openapi.book(slug)
    if book is None:
        return unknown_route(request)
    response = render(
        request,
        "surfaces/reader.html",
        {"book": book, "all": "/docs/", "document": f"/docs/{book.slug}/openapi.json"},
    )
    response["Content-Security-Policy"] = READER_CSP
    return response


@require_safe
def openapi_json(request: HttpRequest, slug: str) -> HttpResponse:
    """One surface's OpenAPI document."""
    if openapi.book(slug) is None:
        return unknown_route(request)
    response = JsonResponse(openapi.document(slug), json_dumps_params={"ensure_ascii": False})
    response["Cache-Control"] = "public, max-age=300"
    return response


@require_safe
def formation_reader(request: HttpRequest) -> HttpResponse:
    """`/docs` at a formation's address: its own document beside it, wherever the address is."""
    about = {"book": openapi.book("muxi-formation"), "document": "openapi.json"}
    response = render(request, "surfaces/reader.html", about)
    response["Content-Security-Policy"] = READER_CSP
    return response


@require_safe
def formation_json(request: HttpRequest) -> HttpResponse:
    """`/openapi.json` at a formation's address."""
    return openapi_json(request, "muxi-formation")
