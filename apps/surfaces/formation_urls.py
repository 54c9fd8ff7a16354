"""Requests to a formation's address are resolved with the formation's own table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class FormationUrls:
    """Middleware: `settings.FORMATION_URLCONF` where `polymux/asgi.py` found a formation."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.META.get("polymux.formation") is not None:
            request.urlconf = settings.FORMATION_URLCONF
        return self._get_response(request)
