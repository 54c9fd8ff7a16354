"""The MUXI formation surface: admin and client keys, the long envelope (contract/muxi.md §5.1-5.4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.errors import Kind, Unauthenticated
from apps.surfaces import doors
from apps.surfaces.kit import STATUSES, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Actor, Caller
    from apps.core.errors import DomainError
    from apps.workspaces.selectors import Place

ADMIN, CLIENT, EITHER = "admin", "client", "either"

# kind -> (code, type) (contract §5.2-5.3)
CODES: Mapping[Kind, tuple[str, str]] = {
    Kind.INVALID: ("INVALID_REQUEST", "error.validation"),
    Kind.UNAUTHENTICATED: ("UNAUTHORIZED", "error.authentication"),
    Kind.FORBIDDEN: ("FORBIDDEN", "error.authorization"),
    Kind.NOT_FOUND: ("RESOURCE_NOT_FOUND", "error.not_found"),
    Kind.METHOD_NOT_ALLOWED: ("METHOD_NOT_ALLOWED", "error.validation"),
    Kind.CONFLICT: ("DUPLICATE_RESOURCE", "error.validation"),
    Kind.GONE: ("GONE", "error.not_found"),
    Kind.PRECONDITION: ("OPERATION_FAILED", "error.validation"),
    Kind.TOO_LARGE: ("CONTENT_TOO_LARGE", "error.validation"),
    Kind.UNSUPPORTED_MEDIA: ("INVALID_REQUEST", "error.validation"),
    Kind.UNPROCESSABLE: ("UNPROCESSABLE_ENTITY", "error.validation"),
    Kind.LIMITED: ("RATE_LIMITED", "error.processing"),
    Kind.UPSTREAM: ("LLM_ERROR", "error.processing"),
    Kind.UNAVAILABLE: ("SYSTEM_OVERLOAD", "error.internal"),
    Kind.TIMEOUT: ("TIMEOUT", "error.processing"),
    Kind.INTERNAL: ("INTERNAL_ERROR", "error.internal"),
}
# Codes of domain errors that have a name of their own here.
NAMES: Mapping[str, str] = {
    "agent_not_found": "AGENT_NOT_FOUND",
    "agent_exists": "AGENT_EXISTS",
    "secret_not_found": "SECRET_NOT_FOUND",
    "secret_exists": "SECRET_EXISTS",
    "request_not_found": "REQUEST_NOT_FOUND",
    "trigger_not_found": "TRIGGER_NOT_FOUND",
    "mcp_server_not_found": "MCP_SERVER_NOT_FOUND",
    "sop_not_found": "SOP_NOT_FOUND",
    "memory_off": "SERVICE_UNAVAILABLE",
    "too_many": "OPERATION_FAILED",
    "too_many_memories": "OPERATION_FAILED",
}


class MuxiFormation(Surface):
    name = "muxi-formation"
    lenient_media: ClassVar[bool] = True
    statuses: ClassVar[Mapping[Kind, int]] = {**STATUSES, Kind.TIMEOUT: 408}

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        return self.prove_near(credentials, realm=realm)[0]

    def prove_near(
        self, credentials: Credentials, *, realm: str = ""
    ) -> tuple[Caller, Place | None]:
        """`realm`: admin, client or either (the default): which key the route takes.

        At a formation's address only the keys of its home count; elsewhere those of a workspace that
        is nobody's home.
        """
        raw, kind = _offered(credentials.headers, realm)
        kinds, home = frozenset({kind}), credentials.formation
        request_id, ip = credentials.request_id, credentials.ip
        if home is None:
            return doors.caller_at_home(raw, kinds=kinds, request_id=request_id, ip=ip)
        return doors.caller_of_home_key(
            home.home_id, raw, kinds=kinds, request_id=request_id, ip=ip
        )

    def enter(self, caller: Caller, workspace: str | UUID, place: Place | None = None) -> Actor:
        return super().enter(caller, place.workspace_id if place else workspace, place)

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        return doors.first_workspace(caller)

    def status_of(self, error: DomainError) -> int:
        return 422 if validation_errors(error) else super().status_of(error)

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        code, family = CODES[error.kind]
        code = NAMES.get(error.code, code)
        data: dict[str, Any] = {}
        if problems := validation_errors(error):
            code, data = "VALIDATION_ERROR", {"validation_errors": problems}
        return envelope(
            "error", family, seen, error={"code": code, "message": error.message, "data": data}
        )


def envelope(
    object_name: str, type_name: str, seen: Credentials, *, data: Any = None, error: Any = None
) -> dict[str, Any]:
    """`{object, timestamp (ms), type, request, success, error, data}` (contract §5.2)."""
    return {
        "object": object_name,
        "timestamp": time.time_ns() // 1_000_000,
        "type": type_name,
        "request": {"id": seen.request_id, "idempotency_key": idempotency_key(seen)},
        "success": error is None,
        "error": error,
        "data": {} if data is None else data,
    }


def idempotency_key(seen: Credentials) -> str | None:
    return seen.headers.get("x-muxi-idempotency-key", "")[:255] or None


def validation_errors(error: DomainError) -> list[dict[str, str]]:
    """The items of `error.data.validation_errors` (contract §5.3), from an `InvalidInput`'s fields."""
    problems = getattr(error, "problems", None)
    if problems:
        return [dict(problem) for problem in problems]
    fields = error.details.get("fields") if error.kind is Kind.INVALID else None
    if not isinstance(fields, dict):
        return []
    return [
        {"field": name, "msg": message, "type": "string", "error": "invalid"}
        for name, messages in fields.items()
        for message in messages
    ]


def _offered(headers: Mapping[str, str], realm: str) -> tuple[str, str]:
    """(the key, its kind) of the first that the route takes; Unauthenticated."""
    offers = (
        (ADMIN, headers.get("x-muxi-admin-key"), "admin_key"),
        (CLIENT, headers.get("x-muxi-client-key"), "client_key"),
    )
    for key_realm, raw, kind in offers:
        if raw and realm in {key_realm, EITHER, ""} and "\x00" not in raw:
            return raw, kind
    raise Unauthenticated(_wanted(realm))


def _wanted(realm: str) -> str:
    names = {ADMIN: "X-MUXI-ADMIN-KEY", CLIENT: "X-MUXI-CLIENT-KEY"}
    return f"Missing or invalid {names.get(realm, ' or '.join(names.values()))}."


SURFACE = MuxiFormation()
