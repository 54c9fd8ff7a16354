"""The OpenAI surface: bearers of every kind, `{error: {message, type, param, code}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings

from apps.core.errors import Kind, NotFound, TokenMissing, Unauthenticated
from apps.surfaces import doors, jwe, polyant, ratewindow
from apps.surfaces.errors import UnknownRoute, WindowSpent
from apps.surfaces.kit import Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from apps.core.actor import Actor, Caller
    from apps.core.errors import DomainError

Entered = TypeVar("Entered")
KEYS = frozenset({"pat", "admin_key", "client_key", "instance_key"})
STRANGERS_PER_MINUTE = 20  # an instance key or nobody, per address (contract/polyant.md §A)

# kind -> (type, code) as the OpenAI SDKs know them
TYPES: Mapping[Kind, tuple[str, str | None]] = {
    Kind.INVALID: ("invalid_request_error", None),
    Kind.UNAUTHENTICATED: ("invalid_request_error", "invalid_api_key"),
    Kind.FORBIDDEN: ("permission_error", "insufficient_permissions"),
    Kind.NOT_FOUND: ("invalid_request_error", "not_found"),
    Kind.METHOD_NOT_ALLOWED: ("invalid_request_error", "method_not_supported"),
    Kind.CONFLICT: ("invalid_request_error", "conflict"),
    Kind.GONE: ("invalid_request_error", "gone"),
    Kind.PRECONDITION: ("invalid_request_error", "precondition_failed"),
    Kind.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    Kind.UNSUPPORTED_MEDIA: ("invalid_request_error", "unsupported_media_type"),
    Kind.UNPROCESSABLE: ("invalid_request_error", "unprocessable"),
    Kind.LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    Kind.UPSTREAM: ("upstream_error", "upstream_error"),
    Kind.UNAVAILABLE: ("server_error", "service_unavailable"),
    Kind.TIMEOUT: ("upstream_error", "upstream_timeout"),
    Kind.INTERNAL: ("server_error", "internal_error"),
}


class OpenAI(Surface):
    name = "openai"

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """Any token, API key or instance key of a workspace; a panel session may list models."""
        if credentials.method == "GET" and _panel_session(credentials, credentials.bearer()):
            return polyant.session_caller(credentials)
        return _opened(doors.caller_of_key, credentials)

    def admit_home(self, credentials: Credentials) -> tuple[Caller, Actor, dict[str, str]]:
        """The chat's way in: caller and home workspace in one query, then the throttle."""
        caller, actor = _opened(doors.home_of_key, credentials)
        return caller, actor, self.throttle(caller, credentials)

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        """By slug or id; "": the one the key means without saying."""
        if not workspace:
            return doors.first_workspace(caller)
        try:
            return super().workspace_id(caller, workspace)
        except NotFound:
            return doors.workspace_by_slug(caller, workspace)

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """Chat: generous for tokens, 20 a minute and address for instance keys and nobody."""
        state = ratewindow.hit(*_bucket(caller, credentials))
        headers = state.headers()
        if not state.allowed:
            raise WindowSpent(state, headers)
        return headers

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        family, code = TYPES[error.kind]
        if error.kind is Kind.LIMITED and error.code != "rate_limited":
            family = code = "insufficient_quota"
        if error.code.startswith(("model_", "agent_", "project_")):
            code = error.code
        fields = error.details.get("fields") or {}
        param = error.details.get("param") or next(iter(fields), None)
        message = error.message
        if fields and param in fields:
            message = f"{param}: {'; '.join(fields[param])}"
        return {"error": {"message": message, "type": family, "param": param, "code": code}}

    def error_headers(self, error: DomainError, status: int, seen: Credentials) -> dict[str, str]:
        headers = super().error_headers(error, status, seen)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def unknown_route(self, seen: Credentials) -> DomainError:
        return UnknownRoute(f"Invalid URL ({seen.method} {seen.path})")

    def plain_headers(self, seen: Credentials) -> dict[str, str]:
        return super().plain_headers(seen) | {"x-request-id": seen.request_id}


def _opened(way_in: Callable[..., Entered], credentials: Credentials) -> Entered:
    """What `way_in` finds behind the bearer key; upstream's words when it finds nothing."""
    raw = credentials.bearer()
    if not raw:
        raise TokenMissing("You didn't provide an API key. Send Authorization: Bearer YOUR_KEY.")
    try:
        return way_in(raw, kinds=KEYS, request_id=credentials.request_id, ip=credentials.ip)
    except Unauthenticated:
        raise Unauthenticated("Incorrect API key provided.") from None


def _panel_session(credentials: Credentials, raw: str | None) -> bool:
    if raw:
        return jwe.looks_like_one(raw)
    return any(name.startswith(jwe.COOKIES) for name in credentials.cookies)


def _bucket(caller: Caller | None, credentials: Credentials) -> tuple[str, int]:
    """(key, limit) of the window this request counts in."""
    if caller is not None and caller.token_id is None:
        return f"openai:{caller.user_id}", settings.RATE_CHAT_PER_MIN
    if caller is None or doors.limits_of(caller.token_id).kind == "instance_key":  # type: ignore[arg-type]
        where = f"{credentials.method}:{credentials.path}"[:80]
        return f"openai:ip:{credentials.ip}:{where}", STRANGERS_PER_MINUTE
    return f"openai:{caller.token_id}", settings.RATE_CHAT_PER_MIN


SURFACE = OpenAI()
