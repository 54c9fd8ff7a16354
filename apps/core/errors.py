"""Domain errors: what went wrong, in words every surface can translate.

A domain error has a `kind` (a closed set: each surface's table maps every kind to a status and
its own words; a house test walks both) and a `code` (stable, snake_case). No error knows HTTP.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """The closed set of ways an operation can fail."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    UNPROCESSABLE = "unprocessable"
    LIMITED = "limited"
    UPSTREAM = "upstream"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class DomainError(Exception):
    """Base of all. `message` is safe to show; `details` is JSON-ready and safe to show."""

    kind: ClassVar[Kind] = Kind.INTERNAL
    code: ClassVar[str] = "internal"
    message: str = "Something went wrong."

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or type(self).message
        self.details: dict[str, Any] = details
        super().__init__(self.message)


class InvalidInput(DomainError):
    """`details["fields"]`: field -> list of messages."""

    kind = Kind.INVALID
    code = "invalid_request"
    message = "The request is not valid."


class CursorInvalid(DomainError):
    kind = Kind.INVALID
    code = "cursor_invalid"
    message = "This cursor is not valid for this list."


class Unauthenticated(DomainError):
    kind = Kind.UNAUTHENTICATED
    code = "token_invalid"
    message = "The credential is not valid."


class TokenMissing(Unauthenticated):
    code = "token_missing"
    message = "Send a credential."


class TokenRevoked(Unauthenticated):
    code = "token_revoked"
    message = "This token has been revoked."


class TokenExpired(Unauthenticated):
    code = "token_expired"
    message = "This token has expired."


class Forbidden(DomainError):
    kind = Kind.FORBIDDEN
    code = "forbidden"
    message = "You may not do that."


class ScopeInsufficient(Forbidden):
    code = "scope_insufficient"
    message = "The token lacks the scope for that."


class WorkspaceMismatch(Forbidden):
    code = "workspace_mismatch"
    message = "The token belongs to another workspace."


class NotFound(DomainError):
    """Absent and foreign alike: an id tells a stranger nothing."""

    kind = Kind.NOT_FOUND
    code = "not_found"
    message = "Not found."


class MethodNotAllowed(DomainError):
    kind = Kind.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    message = "This method is not allowed here."


class Conflict(DomainError):
    kind = Kind.CONFLICT
    code = "conflict"
    message = "The request conflicts with the current state."


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"
    message = "This Idempotency-Key was used with another body, or is still in progress."


class Gone(DomainError):
    kind = Kind.GONE
    code = "gone"
    message = "It was here and is gone."


class TooLarge(DomainError):
    kind = Kind.TOO_LARGE
    code = "payload_too_large"
    message = "The payload is too large."


class UnsupportedMedia(DomainError):
    kind = Kind.UNSUPPORTED_MEDIA
    code = "unsupported_media_type"
    message = "This content type is not supported."


class Unprocessable(DomainError):
    kind = Kind.UNPROCESSABLE
    code = "unprocessable"
    message = "The request is well formed but cannot be carried out."


class PreconditionFailed(DomainError):
    kind = Kind.PRECONDITION
    code = "precondition_failed"
    message = "A precondition of the request does not hold."


class RateLimited(DomainError):
    """`details`: limit, remaining, reset (epoch seconds), retry_after (seconds), bucket."""

    kind = Kind.LIMITED
    code = "rate_limited"
    message = "Too many requests."


class BudgetExceeded(DomainError):
    kind = Kind.LIMITED
    code = "budget_exceeded"
    message = "The budget is spent."


class UpstreamFailed(DomainError):
    kind = Kind.UPSTREAM
    code = "upstream_error"
    message = "The model provider failed."


class UpstreamTimeout(DomainError):
    kind = Kind.TIMEOUT
    code = "upstream_timeout"
    message = "The model provider did not answer in time."


class Unavailable(DomainError):
    """`details["retry_after"]`: seconds."""

    kind = Kind.UNAVAILABLE
    code = "unavailable"
    message = "The service is not available right now. Try again shortly."


class Internal(DomainError):
    kind = Kind.INTERNAL
    code = "internal"
