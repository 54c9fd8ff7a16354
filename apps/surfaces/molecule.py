"""The Molecule surface: workspace and admin bearers, bare bodies (contract/molecule.md §2-3)."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings

from apps.core.actor import Caller, CallerKind, Scope
from apps.core.errors import Kind, NotFound, Unauthenticated, WorkspaceMismatch
from apps.surfaces import doors, ratewindow
from apps.surfaces.errors import UnknownRoute, WindowSpent
from apps.surfaces.kit import STATUSES, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.errors import DomainError
    from apps.workspaces.selectors import Place

WORKSPACE, ADMIN = "workspace", "admin"
PER_MINUTE = 600
BAD_WORKSPACE_TOKEN = "invalid workspace auth token"  # noqa: S105  (words, not a token)
_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_NOT_IN_BODY = frozenset({"limit", "remaining", "reset", "fields", "required"})


class Molecule(Surface):
    name = "molecule"
    limits_strangers: ClassVar[bool] = True
    lenient_media: ClassVar[bool] = True
    wrong_method_is_unknown: ClassVar[bool] = True
    statuses: ClassVar[Mapping[Kind, int]] = {**STATUSES, Kind.METHOD_NOT_ALLOWED: 404}

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """`realm` workspace (the default) or admin; each failure in upstream's words (§3.2-3.3)."""
        raw = credentials.bearer(exact=True)
        admin = realm == ADMIN
        if raw is None:
            raise Unauthenticated(
                "admin auth required" if admin else "missing workspace auth token"
            )
        if _is_admin_token(raw):
            return Caller(
                CallerKind.OPERATOR,
                Scope.ADMIN,
                platform=True,
                request_id=credentials.request_id,
                ip=credentials.ip,
            )
        try:
            caller = doors.caller_of_token(
                raw, request_id=credentials.request_id, ip=credentials.ip
            )
        except Unauthenticated:
            raise Unauthenticated(
                "invalid admin auth token" if admin else BAD_WORKSPACE_TOKEN
            ) from None
        if caller.kind is CallerKind.SESSION_TOKEN:
            raise Unauthenticated("invalid admin auth token" if admin else BAD_WORKSPACE_TOKEN)
        if admin and not caller.platform:
            raise Unauthenticated("invalid admin auth token")
        return caller

    def enter(self, caller: Caller, workspace: str | UUID, place: Place | None = None) -> Actor:
        """A workspace that is foreign, or is not there, is a bad token: ids tell nothing (§3.2)."""
        try:
            return super().enter(caller, workspace, place)
        except (NotFound, WorkspaceMismatch):
            if caller.platform:
                raise NotFound("workspace not found") from None
            raise Unauthenticated(BAD_WORKSPACE_TOKEN) from None

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """600 requests a minute and address, before the login."""
        limit = settings.RATE_MOLECULE_PER_MIN
        state = ratewindow.hit(f"molecule:{credentials.ip}", limit)
        headers = state.headers()
        if not state.allowed:
            raise WindowSpent(state, headers)
        return headers

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        if isinstance(error, UnknownRoute) or error.kind is Kind.METHOD_NOT_ALLOWED:
            return "404 page not found"
        if error.kind is Kind.INTERNAL:
            return {"error": "internal server error"}
        if error.kind is Kind.UNAVAILABLE:
            return {
                "error": "platform datastore unavailable — retry shortly",
                "code": "platform_unavailable",
            }
        if error.code == "rate_limited":
            return {
                "error": "rate limit exceeded",
                "retry_after": error.details.get("retry_after", 1),
            }
        more = {key: value for key, value in error.details.items() if key not in _NOT_IN_BODY}
        return {"error": error.message, **more}

    def unknown_route(self, seen: Credentials) -> DomainError:
        return UnknownRoute()

    def dumps(self, value: Any) -> bytes:
        """JSON as Go writes it: no blanks, `<>&` escaped, whole floats without a fraction (§2).

        The escapes only ever meet characters inside strings: JSON's own marks are none of them.
        """
        text = json.dumps(whole(value), ensure_ascii=False, separators=(",", ":"), default=str)
        return text.translate(_ESCAPES).encode()

    def plain_headers(self, seen: Credentials) -> dict[str, str]:
        return super().plain_headers(seen) | {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
            "Content-Security-Policy": "default-src 'self'",
        }


def whole(value: Any) -> Any:
    """`value` with its whole floats as integers: `100.0` goes out as `100`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole(item) for item in value]
    return value


def _is_admin_token(raw: str) -> bool:
    wanted = settings.ADMIN_TOKEN
    return bool(wanted) and hmac.compare_digest(raw.encode(), wanted.encode())


SURFACE = Molecule()
