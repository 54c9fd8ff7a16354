"""The Polyant surface: panel sessions and instance keys, bare bodies (contract/polyant.md §A)."""

from __future__ import annotations

import hashlib
import hmac
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.actor import Caller, CallerKind, Scope
from apps.core.errors import Forbidden, Kind, NotFound, Unauthenticated
from apps.surfaces import doors, jwe, ratewindow
from apps.surfaces.errors import UnknownRoute, WindowSpent
from apps.surfaces.kit import READING, STATUSES, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.errors import DomainError

SESSION, SUPERADMIN, INTERNAL = "session", "superadmin", "internal"
PER_MINUTE = 30
SHORTEST_INTERNAL_SECRET = 16
# (method, path, limit a minute and address); None: not counted (contract §A)
OVERRIDES: tuple[tuple[str, re.Pattern[str], int | None], ...] = (
    ("POST", re.compile(r"/v1/chat/completions"), 20),
    ("POST", re.compile(r"/webhooks/.+"), 60),
    ("POST", re.compile(r"/api/auth/credentials/verify"), 5),
    ("POST", re.compile(r"/api/instances/[^/]+/knowledge"), 5),
    ("GET", re.compile(r"/health"), None),
    ("GET", re.compile(r"/api/activity-stream/live"), None),
)


class Polyant(Surface):
    name = "polyant"
    limits_strangers: ClassVar[bool] = True
    lenient_media: ClassVar[bool] = True
    wrong_method_is_unknown: ClassVar[bool] = True
    statuses: ClassVar[Mapping[Kind, int]] = {**STATUSES, Kind.METHOD_NOT_ALLOWED: 404}

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """`realm`: session (the default), superadmin, or internal (`x-internal-auth`)."""
        if realm == INTERNAL:
            return _internal_caller(credentials)
        caller = session_caller(credentials)
        if realm == SUPERADMIN and not caller.platform:
            raise Forbidden("Insufficient role")
        return caller

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        """An instance by its slug."""
        try:
            return doors.workspace_by_slug(caller, workspace)
        except NotFound:
            raise NotFound(f'Instance "{workspace}" not found') from None

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """Per route and address, before the login."""
        limit = limit_of(credentials.method, credentials.path)
        if limit is None:
            return {}
        where = hashlib.sha256((route or credentials.path).encode()).hexdigest()[:16]
        state = ratewindow.hit(f"polyant:{credentials.method}:{where}:{credentials.ip}", limit)
        if not state.allowed:
            raise WindowSpent(state, {})
        return state.headers()

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        if error.kind is Kind.INTERNAL:
            return {"statusCode": 500, "message": "Internal server error"}
        if error.kind is Kind.LIMITED and error.code == "rate_limited":
            return {"statusCode": status, "message": "ThrottlerException: Too Many Requests"}
        return {
            "message": _words(error, seen),
            "error": HTTPStatus(status).phrase,
            "statusCode": status,
        }

    def unknown_route(self, seen: Credentials) -> DomainError:
        return UnknownRoute(f"Cannot {seen.method} {seen.path}")


def limit_of(method: str, path: str) -> int | None:
    """Requests a minute and address on that route; None: not counted."""
    for verb, pattern, limit in OVERRIDES:
        if verb == method and pattern.fullmatch(path):
            return limit
    return PER_MINUTE


def session_caller(credentials: Credentials) -> Caller:
    """The caller behind a panel session: bearer, else cookie; a bad bearer is not rescued (§A.1)."""
    found = jwe.find_session(credentials.bearer(exact=True), credentials.cookies)
    if found is None:
        raise Unauthenticated("Missing authentication")
    if not found.from_header:
        _keep_foreign_pages_out(credentials)
    try:
        user = doors.session_user(found.subject, found.email)
    except Unauthenticated:
        raise Unauthenticated(jwe.BAD_SESSION) from None
    return Caller(
        CallerKind.LOGIN,
        Scope.ADMIN,
        user_id=user.id,
        platform=user.is_superadmin,
        request_id=credentials.request_id,
        ip=credentials.ip,
    )


def _keep_foreign_pages_out(credentials: Credentials) -> None:
    """A browser adds the cookie for any page: a change must come from ours or an allowed origin."""
    origin = credentials.headers.get("origin")
    if credentials.method in READING or not origin:
        return
    own = urlsplit(origin).netloc == credentials.headers.get("host")
    if not own and origin not in settings.CORS_ALLOWED_ORIGINS:
        raise Forbidden("Cross-origin request refused")


def _internal_caller(credentials: Credentials) -> Caller:
    secret = settings.AUTH_INTERNAL_SECRET
    if len(secret) < SHORTEST_INTERNAL_SECRET:
        raise Unauthenticated("Internal credentials endpoint disabled")
    given = credentials.headers.get("x-internal-auth")
    if not given:
        raise Unauthenticated("Missing internal auth header")
    if not hmac.compare_digest(given.encode(), secret.encode()):
        raise Unauthenticated("Invalid internal auth header")
    return Caller(
        CallerKind.SYSTEM, Scope.ADMIN, request_id=credentials.request_id, ip=credentials.ip
    )


def _words(error: DomainError, seen: Credentials) -> str:
    if error.kind is Kind.METHOD_NOT_ALLOWED:
        return f"Cannot {seen.method} {seen.path}"
    fields = error.details.get("fields")
    if error.kind is Kind.INVALID and isinstance(fields, dict) and fields:
        return ", ".join(message for messages in fields.values() for message in messages)
    return error.message


SURFACE = Polyant()
