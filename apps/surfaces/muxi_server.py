"""The MUXI server surface: HMAC signatures, `{success, data}` (contract/muxi.md §2-3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.errors import Kind, Unauthenticated
from apps.surfaces import doors
from apps.surfaces.kit import Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Caller
    from apps.core.errors import DomainError

log = logging.getLogger(__name__)

SCHEME = "MUXI-HMAC"
TOLERANCE = 300  # seconds of clock skew either way, boundary accepted
MAX_HEADER = 1024

# The names upstream's clients know (contract §3); by kind, unless the code says more.
TYPES: Mapping[Kind, str] = {
    Kind.INVALID: "ValidationError",
    Kind.UNAUTHENTICATED: "Unauthorized",
    Kind.FORBIDDEN: "Forbidden",
    Kind.NOT_FOUND: "NotFound",
    Kind.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    Kind.CONFLICT: "ValidationError",
    Kind.GONE: "Gone",
    Kind.PRECONDITION: "PreconditionFailed",
    Kind.TOO_LARGE: "PayloadTooLarge",
    Kind.UNSUPPORTED_MEDIA: "UnsupportedMediaType",
    Kind.UNPROCESSABLE: "ValidationError",
    Kind.LIMITED: "RateLimited",
    Kind.UPSTREAM: "BadGateway",
    Kind.UNAVAILABLE: "ServiceUnavailable",
    Kind.TIMEOUT: "Timeout",
    Kind.INTERNAL: "InternalError",
}


# Upstream's names of single errors (contract §3); an error of a bundle carries its own.
NAMES: Mapping[str, str] = {
    "header_missing": "MissingHeader",
    "ids_differ": "IDMismatch",
    "versions_differ": "VersionMismatch",
    "no_free_port": "PortAllocationError",
    "archive_refused": "CreateError",
    "not_healthy": "HealthCheckFailed",
    "nothing_changed": "NoChange",
    "update_running": "UpdateInProgress",
    "update_cancelled": "UpdateCancelled",
    "no_update_running": "NoUpdateInProgress",
    "no_previous_version": "NoPreviousVersion",
    "already_running": "AlreadyRunning",
    "already_stopped": "AlreadyStopped",
    "draft_not_found": "DraftNotFound",
    "draft_exists": "DraftAlreadyExists",
    "draft_running": "AlreadyRunning",
    "live_not_found": "LiveNotFound",
    "draft_file_not_found": "FileNotFound",
    "draft_path_invalid": "InvalidPath",
    "draft_mode_invalid": "InvalidMode",
    "draft_action_invalid": "InvalidAction",
    "draft_content_invalid": "DecodeError",
    "draft_body_invalid": "InvalidJSON",
    "draft_too_large": "WriteError",
    "deploy_conflict": "DeployConflict",
}
# Where a kind's usual status is another one here (contract §3.1).
STATUS_OF_CODES: Mapping[str, int] = {"no_free_port": 507}


@dataclass(frozen=True, slots=True)
class Signature:
    """The parts of an `Authorization: MUXI-HMAC` header."""

    key: str
    timestamp: str
    signature: str


class MuxiServer(Surface):
    name = "muxi-server"
    lenient_media: ClassVar[bool] = True

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """Header present, parsed, key known, timestamp, signature: each failure is the same 401."""
        sent = parse(credentials.headers.get("authorization", ""))
        fresh = is_fresh(sent.timestamp, time.time())

        def signed(secret: bytes) -> bool:
            return fresh and is_signed(sent, secret, credentials)

        try:
            return doors.caller_of_hmac(
                sent.key, signed, request_id=credentials.request_id, ip=credentials.ip
            )
        except Unauthenticated:
            if not fresh:
                raise Unauthenticated("The timestamp is outside the accepted window.") from None
            raise Unauthenticated("The signature is not valid.") from None

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        return doors.first_workspace(caller)

    def status_of(self, error: DomainError) -> int:
        return STATUS_OF_CODES.get(error.code) or super().status_of(error)

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        return {
            "success": False,
            "error": name_of(error),
            "message": words_of(error),
            "code": status,
        }


def words_of(error: DomainError) -> str:
    """One sentence: which field is wrong and why, else the error's own words."""
    fields = error.details.get("fields")
    if not isinstance(fields, dict) or error.message != type(error).message:
        return error.message
    return " ".join(f"{name}: {' '.join(map(str, words))}" for name, words in fields.items())


def log_failure(error: Exception, stage: str) -> None:
    """What nobody expected, whole: its client is told only that it happened."""
    log.error("an operation failed while %s", stage, exc_info=error)


def name_of(error: DomainError) -> str:
    """What upstream calls it: the error itself may know, its code, else its kind says."""
    own = getattr(error, "type_name", None)
    return str(own) if own else NAMES.get(error.code, TYPES[error.kind])


def envelope(data: Any) -> dict[str, Any]:
    """`data` in the success envelope (contract §3)."""
    return {"success": True, "data": data}


def parse(header: str) -> Signature:
    """The header's three parts; Unauthenticated when one is missing."""
    if not header:
        raise Unauthenticated("Missing Authorization header.")
    scheme, _, rest = header.partition(" ")
    parts = dict(part.split("=", 1) for part in rest[:MAX_HEADER].split(", ") if "=" in part)
    names = ("key", "timestamp", "signature")
    if scheme != SCHEME or not all(parts.get(name) for name in names) or "\x00" in header:
        raise Unauthenticated(f"Send Authorization: {SCHEME} key=…, timestamp=…, signature=…")
    return Signature(*(parts[name] for name in names))


def is_fresh(timestamp: str, now: float) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    return abs(int(now) - int(timestamp)) <= TOLERANCE


def sign(secret: bytes, timestamp: str, method: str, path: str) -> str:
    """The base64 signature of one request."""
    message = f"{timestamp};{method.upper()};{path}".encode()
    return base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def is_signed(sent: Signature, secret: bytes, credentials: Credentials) -> bool:
    """True if the signature fits the path as decoded, as sent, or as sent with its query.

    The Python SDK signs without the query, the command line client and the Go SDK with it.
    """
    raw = credentials.raw_path
    paths = [credentials.path, raw]
    if credentials.query_string:
        paths.append(f"{raw}?{credentials.query_string}")
    given = sent.signature.encode()
    fits = [
        hmac.compare_digest(sign(secret, sent.timestamp, credentials.method, path).encode(), given)
        for path in paths
    ]
    return any(fits)


SURFACE = MuxiServer()
