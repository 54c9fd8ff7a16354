"""What no view answers: unknown paths, refused hosts, crashes. Each in the words of its surface."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.urls import URLPattern, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.core.errors import (
    Forbidden,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    TooLarge,
    Unavailable,
)
from apps.surfaces import jwe
from apps.surfaces.kit import Admission, from_django
from apps.surfaces.prefixes import is_guarded, patterns_of, realm_of, surface_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from apps.core.errors import DomainError
    from apps.surfaces.kit import Credentials, Reply, Surface

CREDENTIAL_HEADERS = ("authorization", "x-api-key", "x-muxi-admin-key", "x-muxi-client-key")

log = logging.getLogger(__name__)


@csrf_exempt
def unknown_route(request: HttpRequest, **_captured: Any) -> HttpResponse:
    """The end of every surface's table of contents."""
    seen = from_django(request)
    surface = surface_for(seen)
    admission = Admission(surface, seen)
    try:
        if is_guarded(seen.path) or _shows_credential(seen):
            admission.admit(realm=realm_of(surface, seen.path))
        raise surface.unknown_route(seen)
    except Exception as error:  # noqa: BLE001  (every error has an answer in the surface's words)
        return _as_django(admission.answer(error))


def _shows_credential(seen: Credentials) -> bool:
    """True if a credential came along: a bad one is refused before the path is looked at."""
    return any(name in seen.headers for name in CREDENTIAL_HEADERS) or any(
        name.startswith(jwe.COOKIES) for name in seen.cookies
    )


def served_on_loop(*methods: str) -> Callable[..., HttpResponse]:
    """A view for a route that `polymux/asgi.py` serves: 405 for the methods it does not have.

    A request that should have gone to the loop gets here only under a plain WSGI server.
    """

    @csrf_exempt
    def answer(request: HttpRequest, **_captured: Any) -> HttpResponse:
        seen = from_django(request)
        surface = surface_for(seen)
        if seen.method in methods:
            return _refused(request, Unavailable("This route streams: it needs the ASGI server."))
        if surface.wrong_method_is_unknown:
            return _refused(request, surface.unknown_route(seen))
        response = _refused(request, MethodNotAllowed())
        response["Allow"] = ", ".join(methods)
        return response

    return answer


def ending(surface: Surface) -> list[URLPattern]:
    """The last lines of a surface's `urlpatterns`: its own 404 below its own prefixes."""
    return [re_path(f"^{pattern}", unknown_route) for pattern in patterns_of(surface)]


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    too_big = isinstance(exception, RequestDataTooBig)
    return _refused(request, TooLarge() if too_big else InvalidInput("Bad request."))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return _refused(request, Forbidden())


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return unknown_route(request)


def handler500(request: HttpRequest) -> HttpResponse:
    return _refused(request, Internal())


def _refused(request: HttpRequest, error: DomainError) -> HttpResponse:
    try:
        seen = from_django(request)
    except Exception:  # the request itself is what is broken
        log.exception("a request could not be read")
        return HttpResponse(
            b'{"error":"Bad request."}', status=400, content_type="application/json"
        )
    surface = surface_for(seen)
    return _as_django(
        surface.answer_error(
            error, request_id=seen.request_id, path=seen.path, method=seen.method, seen=seen
        )
    )


def _as_django(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.body, status=reply.status, headers=reply.headers)
