"""The Polpo surface: API keys, `{ok, data}` (contract/polpo.md §1-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.urls import path

from apps.core.errors import Kind, NotFound, Unauthenticated
from apps.surfaces import doors, ratewindow
from apps.surfaces.errors import UnknownRoute, WindowSpent
from apps.surfaces.kit import STATUSES, Admission, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.urls import URLPattern

    from apps.core.actor import Actor, Caller
    from apps.core.errors import DomainError
    from apps.workspaces.selectors import Place

KEYS = frozenset({"pat", "admin_key", "instance_key"})
PER_MINUTE: int = settings.RATE_POLPO_PER_MIN
DEFAULT_PROJECT = ""

CODES: Mapping[Kind, str] = {
    Kind.INVALID: "VALIDATION_ERROR",
    Kind.UNAUTHENTICATED: "AUTH_REQUIRED",
    Kind.FORBIDDEN: "FORBIDDEN",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.METHOD_NOT_ALLOWED: "NOT_FOUND",
    Kind.CONFLICT: "CONFLICT",
    Kind.GONE: "NOT_FOUND",
    Kind.PRECONDITION: "INVALID_STATE",
    Kind.TOO_LARGE: "VALIDATION_ERROR",
    Kind.UNSUPPORTED_MEDIA: "VALIDATION_ERROR",
    Kind.UNPROCESSABLE: "VALIDATION_ERROR",
    Kind.LIMITED: "RATE_LIMITED",
    Kind.UPSTREAM: "INTERNAL_ERROR",
    Kind.UNAVAILABLE: "NOT_AVAILABLE",
    Kind.TIMEOUT: "INTERNAL_ERROR",
    Kind.INTERNAL: "INTERNAL_ERROR",
}


def envelope(data: Any) -> dict[str, Any]:
    """A success (contract/polpo.md §2.3)."""
    return {"ok": True, "data": data}


def on_projects(route: str, view: Any) -> list[URLPattern]:
    """`route` under one project and, as every client since 2026-02 calls it, under the default one.

    Both layouts of contract/polpo.md §1.1.
    """
    return [
        path(f"api/v1/projects/<str:project_id>/{route}", view),
        path(f"api/v1/{route}", view),
    ]


class Polpo(Surface):
    name = "polpo"
    lenient_media: ClassVar[bool] = True
    answers_deletions: ClassVar[bool] = True
    statuses: ClassVar[Mapping[Kind, int]] = {
        **STATUSES,
        Kind.METHOD_NOT_ALLOWED: 404,
        Kind.PRECONDITION: 409,
        Kind.UNPROCESSABLE: 400,
    }

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        return self.prove_near(credentials, realm=realm)[0]

    def prove_near(
        self, credentials: Credentials, *, realm: str = ""
    ) -> tuple[Caller, Place | None]:
        """`X-API-Key`, `?apiKey=` or a bearer: upstream's clients use all three."""
        raw = credentials.headers.get("x-api-key") or credentials.bearer()
        raw = raw or credentials.query.get("apiKey")
        if not raw:
            raise Unauthenticated("Missing API key")
        try:
            return doors.caller_at_home(
                raw, kinds=KEYS, request_id=credentials.request_id, ip=credentials.ip
            )
        except Unauthenticated:
            raise Unauthenticated("Invalid API key") from None

    def enter(self, caller: Caller, workspace: str | UUID, place: Place | None = None) -> Actor:
        if workspace == DEFAULT_PROJECT and place is not None:
            workspace = place.workspace_id
        return super().enter(caller, workspace, place)

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        """A project by slug or id; `DEFAULT_PROJECT`: the one the key means without saying."""
        if workspace == DEFAULT_PROJECT:
            return doors.first_workspace(caller)
        try:
            return super().workspace_id(caller, workspace)
        except NotFound:
            return doors.workspace_by_slug(caller, workspace)

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """So many a minute and client (200): its key, or its address while it has shown none that is good."""
        who = credentials.ip if caller is None else str(caller.token_id or caller.user_id)
        state = ratewindow.hit(f"polpo:{who}", PER_MINUTE)
        if not state.allowed:
            raise WindowSpent(state, {})
        return {}

    def admit(
        self, admission: Admission, *, realm: str, route: str, bucket: str, public: bool
    ) -> None:
        try:
            super().admit(admission, realm=realm, route=route, bucket=bucket, public=public)
        except Unauthenticated:
            self.throttle(None, admission.credentials)  # guesses count against the address
            raise

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        code = CODES[error.kind]
        if error.kind is Kind.CONFLICT and error.code.endswith("_state"):
            code = "INVALID_STATE"
        body: dict[str, Any] = {"ok": False, "error": error.message, "code": code}
        if fields := error.details.get("fields"):
            body["details"] = fields
        return body

    def unknown_route(self, seen: Credentials) -> DomainError:
        return UnknownRoute(f"Route not found: {seen.method} {seen.path}")


SURFACE = Polpo()
