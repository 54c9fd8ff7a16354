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

    from apps.core.actor import Caller
    from apps.core.errors import DomainError

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
    "operation_failed": "OPERATION_FAILED",
    "turn_cancelled": "CANCELLED",
    "turn_in_progress": "OPERATION_FAILED",
    "audio_unavailable": "UNPROCESSABLE_ENTITY",
    "mcp_server_not_found": "MCP_SERVER_NOT_FOUND",
}


class MuxiFormation(Surface):
    name = "muxi-formation"
    lenient_media: ClassVar[bool] = True
    statuses: ClassVar[Mapping[Kind, int]] = {**STATUSES, Kind.TIMEOUT: 408}

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """`realm`: admin, client or either (the default): which key the route takes."""
        headers = credentials.headers
        offers = (
            (ADMIN, headers.get("x-muxi-admin-key"), "admin_key"),
            (CLIENT, headers.get("x-muxi-client-key"), "client_key"),
        )
        for key_realm, raw, kind in offers:
            if raw and realm in {key_realm, EITHER, ""} and "\x00" not in raw:
                return doors.caller_of_key(
                    raw,
                    kinds=frozenset({kind}),
                    request_id=credentials.request_id,
                    ip=credentials.ip,
                )
        raise Unauthenticated(_wanted(realm))

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        return doors.first_workspace(caller)

    def status_of(self, error: DomainError) -> int:
        return 422 if validation_errors(error) else super().status_of(error)

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        code, family = code_of(error), CODES[error.kind][1]
        data: dict[str, Any] = {}
        if problems := validation_errors(error):
            code, data = "VALIDATION_ERROR", {"validation_errors": problems}
        return envelope(
            "error", family, seen, error={"code": code, "message": error.message, "data": data}
        )


def code_of(error: DomainError) -> str:
    """What this surface calls `error`."""
    return NAMES.get(error.code, CODES[error.kind][0])


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


def end_user(seen: Credentials) -> str:
    """`X-Muxi-User-ID`: the app's own user; an e-mail is folded to lower case; "" when absent."""
    user = seen.headers.get("x-muxi-user-id", "").strip()[:255]
    return user.lower() if "@" in user else user


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


def _wanted(realm: str) -> str:
    names = {ADMIN: "X-MUXI-ADMIN-KEY", CLIENT: "X-MUXI-CLIENT-KEY"}
    return f"Missing or invalid {names.get(realm, ' or '.join(names.values()))}."


SURFACE = MuxiFormation()
