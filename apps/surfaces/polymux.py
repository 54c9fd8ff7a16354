"""The Polymux surface: bearer tokens, bare objects, `{error, code, request_id}` (contract/polymux.md §1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.actor import CallerKind, Scope
from apps.core.errors import Kind, NotFound, ScopeInsufficient, TokenMissing
from apps.core.ids import parse_id, parse_session_id
from apps.core.paging import NEWEST_FIRST, paginate
from apps.surfaces import doors, ratewindow
from apps.surfaces.errors import WindowSpent
from apps.surfaces.kit import READING, Credentials, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Caller
    from apps.core.errors import DomainError
    from apps.core.prepared import Prepared
    from apps.workspaces.selectors import Place

SUBPROTOCOL = "polymux.v1"
_SESSION_PATH = re.compile(r"/sessions?/([^/]+)(/.*)?")
# Keys that clients look for beside `error`, not below `details` (contract §1.3).
_LIFTED = ("current_version", "max_upload_size", "plan", "used", "cap", "members", "pending")


class Polymux(Surface):
    name = "polymux"

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        return self.prove_near(credentials, realm=realm)[0]

    def prove_near(
        self, credentials: Credentials, *, realm: str = ""
    ) -> tuple[Caller, Place | None]:
        raw = token_of(credentials)
        if raw is None:
            raise TokenMissing
        caller, place = doors.caller_near(
            raw,
            _workspace_in(credentials.path),
            request_id=credentials.request_id,
            ip=credentials.ip,
        )
        if caller.kind is CallerKind.SESSION_TOKEN:
            _keep_to_its_session(caller, credentials)
        return caller, place

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """60 reads and 30 writes a token and minute, or what staff set for it; public routes by address."""
        bucket = bucket or ("read" if credentials.method in READING else "write")
        state = ratewindow.hit(rate_key(caller, credentials.ip, bucket), rate_limit(caller, bucket))
        headers = state.headers() | {"X-RateLimit-Reset": str(state.reset)}
        if not state.allowed:
            raise WindowSpent(state, headers, bucket=bucket)
        return headers

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        body = {"error": error.message, "code": error.code, "request_id": seen.request_id}
        details = error.details
        if error.kind is Kind.LIMITED and "bucket" in details:
            details = {"bucket": details["bucket"]}
        body |= {key: details[key] for key in _LIFTED if key in details}
        return body | {"details": details} if details else body

    def error_headers(self, error: DomainError, status: int, seen: Credentials) -> dict[str, str]:
        headers = super().error_headers(error, status, seen)
        if status == 401:
            headers["WWW-Authenticate"] = f'Bearer error="{error.code}"'
        return headers

    def plain_headers(self, seen: Credentials) -> dict[str, str]:
        return super().plain_headers(seen) | {
            "request_id": seen.request_id,
            "X-Request-Id": seen.request_id,
        }


def token_of(credentials: Credentials) -> str | None:
    """The token: the header; for sockets, which a browser opens, also `?token=` or a subprotocol."""
    if raw := credentials.bearer():
        return raw
    if not credentials.path.startswith(("/session/", "/workspace/")):
        return None
    for offered in credentials.subprotocols:
        if offered.startswith("bearer."):
            return offered.removeprefix("bearer.")
    return credentials.query.get("token") or None


def page_of(
    rows: QuerySet[Any] | Prepared,
    shape: Callable[[Any], Any],
    asked: Mapping[str, str],
    *,
    name: str,
    workspace_id: UUID | None,
    order: Sequence[str] = NEWEST_FIRST,
) -> dict[str, Any]:
    """One page of `rows` as `{data, next_cursor}` (contract §1.4), by the query's limit and cursor.

    `name` says which list this is, with its filters: a cursor of another is refused.
    """
    page = paginate(
        rows,
        workspace_id=workspace_id,
        query=name,
        limit=asked.get("limit"),
        cursor=asked.get("cursor"),
        order=order,
    )
    return {"data": [shape(row) for row in page.items], "next_cursor": page.next_cursor}


def rate_key(caller: Caller | None, ip: str, bucket: str) -> str:
    """The window's key; `/tokens/{id}/usage` peeks at the same one."""
    if caller is None:
        return f"polymux:ip:{ip}:{bucket}"
    return f"polymux:{caller.token_id or caller.user_id}:{bucket}"


def rate_limit(caller: Caller | None, bucket: str) -> int:
    """Requests a minute in that bucket."""
    own = None
    if caller is not None and caller.token_id is not None:
        limits = doors.limits_of(caller.token_id)
        own = limits.read if bucket == "read" else limits.write
    default = settings.RATE_READ_PER_MIN if bucket == "read" else settings.RATE_WRITE_PER_MIN
    return int(own or default)


def _workspace_in(path: str) -> UUID | None:
    """The workspace a path names by itself or by a session's id.

    Only a hint of what to read with the credential: which one the route means, its view says.
    """
    _, first, name, *_ = [*path.split("/", 3), "", ""]
    try:
        if first == "workspaces":
            return parse_id("ws", name)
        return parse_session_id(name)[0] if first in {"sessions", "session"} else None
    except NotFound:
        return None


def _keep_to_its_session(caller: Caller, credentials: Credentials) -> None:
    """A session token opens its own session and nothing else (contract §2.2)."""
    found = _SESSION_PATH.fullmatch(credentials.path)
    try:
        here = found is not None and parse_session_id(found[1])[1] == caller.session_id
    except Exception:  # noqa: BLE001  (a path that names no session at all)
        here = False
    deletes = credentials.method == "DELETE" and found is not None and found[2] in {None, "/"}
    if not here or deletes:
        raise ScopeInsufficient(
            "A session token reaches only its own session.", required=Scope.ADMIN.word
        )


SURFACE = Polymux()
