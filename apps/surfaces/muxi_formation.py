"""The MUXI formation surface: admin and client keys, the long envelope (contract/muxi.md §5.1-5.4)."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.errors import Kind, Unauthenticated
from apps.surfaces import doors, idempotency
from apps.surfaces.kit import STATUSES, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Actor, Caller
    from apps.core.errors import DomainError
    from apps.surfaces.models import IdempotentReply
    from apps.workspaces.selectors import Place

ADMIN, CLIENT, EITHER = "admin", "client", "either"
SAME = "-"  # the mark of every request of a key: the key alone says that it is the same one

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
    "agent_name_taken": "AGENT_EXISTS",
    "secret_not_found": "SECRET_NOT_FOUND",
    "secret_exists": "SECRET_EXISTS",
    "secret_in_use": "SECRET_IN_USE",
    "request_not_found": "REQUEST_NOT_FOUND",
    "trigger_not_found": "TRIGGER_NOT_FOUND",
    "operation_failed": "OPERATION_FAILED",
    "turn_cancelled": "CANCELLED",
    "turn_in_progress": "OPERATION_FAILED",
    "not_audio": "VALIDATION_ERROR",
    "audio_unavailable": "UNPROCESSABLE_ENTITY",
    "mcp_server_not_found": "MCP_SERVER_NOT_FOUND",
    "sop_not_found": "SOP_NOT_FOUND",
    "memory_off": "SERVICE_UNAVAILABLE",
    "schedule_refused": "VALIDATION_ERROR",
    "too_many": "OPERATION_FAILED",
    "too_many_jobs": "OPERATION_FAILED",
    "too_many_memories": "OPERATION_FAILED",
}


STATUS_OF_CODE = {"turn_cancelled": 499}
UNTOLD = frozenset({"fields", "retry_after"})  # of an error's details: told in other places


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
        if validation_errors(error):
            return 422
        return STATUS_OF_CODE.get(error.code) or super().status_of(error)

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        code, family = code_of(error), CODES[error.kind][1]
        data = {name: value for name, value in error.details.items() if name not in UNTOLD}
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


def claim_once(
    seen: Credentials, workspace_id: UUID, end_user: str
) -> idempotency.Claim | IdempotentReply | None:
    """The claim of this request's idempotency key, or what was answered to it; None without a key.

    Of one route and user; bodies are not compared (contract §5.4). Raises IdempotencyConflict while the
    first one is in progress.
    """
    key = idempotency_key(seen)
    if key is None:
        return None
    return idempotency.claim(claimant(seen, workspace_id, end_user), key, SAME)


def claimant(seen: Credentials, workspace_id: UUID, end_user: str) -> str:
    """Whose keys do not meet: those of one user on one route."""
    place = f"{workspace_id}\n{seen.method} {seen.path}\n{end_user}"
    return f"muxi:{hashlib.sha256(place.encode()).hexdigest()}"


def validation_errors(error: DomainError) -> list[dict[str, str]]:
    """The items of `error.data.validation_errors` (contract §5.3), from an `InvalidInput`'s fields."""
    problems = getattr(error, "problems", ())
    if told := [dict(problem) for problem in problems if isinstance(problem, dict)]:
        return told
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
