"""What every surface is made of: credentials in, errors out, in that surface's own words.

Nothing here knows DRF or Channels: `views.py` serves Django's threads with it, the consumers in each
app's `live.py` serve the loop (`await db_call(admission.admit, ...)`).
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, quote
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError
from pydantic_core import to_json

from apps.core.actor import Actor, Caller, Scope
from apps.core.errors import (
    DomainError,
    Internal,
    Kind,
    ScopeInsufficient,
    Unavailable,
)
from apps.core.ids import parse_id, request_id
from apps.surfaces import doors
from apps.surfaces.errors import UnknownRoute, WindowSpent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest

    from apps.workspaces.selectors import Place

log = logging.getLogger(__name__)

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
Where = str | UUID | None
READING = frozenset({"GET", "HEAD", "OPTIONS"})

STATUSES: Mapping[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.GONE: 410,
    Kind.PRECONDITION: 412,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA: 415,
    Kind.UNPROCESSABLE: 422,
    Kind.LIMITED: 429,
    Kind.UPSTREAM: 502,
    Kind.UNAVAILABLE: 503,
    Kind.TIMEOUT: 504,
    Kind.INTERNAL: 500,
}


@dataclass(frozen=True, slots=True)
class FormationRef:
    """The formation a request is for: found by its address (`/api/{slug}/…`) or its port.

    Its path is what follows the address. Lies in the ASGI scope under `formation`, in the WSGI environ
    under `polymux.formation`.
    """

    slug: str
    home_id: UUID
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request says about itself. Header names are lower-case; a query keeps its first value.

    `path` is percent-decoded, `raw_path` as it was sent, both without the query. `formation`: whose
    address the request came by.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    method: str
    path: str
    raw_path: str
    ip: str
    request_id: str
    query_string: str = ""
    subprotocols: tuple[str, ...] = ()
    formation: FormationRef | None = None

    def bearer(self, *, exact: bool = False) -> str | None:
        """The bearer token, or None. `exact`: the scheme is `Bearer`, in that case, and one blank.

        A proxy may have joined two Authorization headers with a comma: the first counts.
        """
        value = self.headers.get("authorization", "")
        scheme, _, rest = value.partition(" ")
        if scheme != "Bearer" if exact else scheme.lower() != "bearer":
            return None
        return rest.split(",", 1)[0].strip() or None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def client_ip(peer: str, forwarded: str) -> str:
    """The client's address: the peer, or what the `TRUSTED_PROXIES` proxies in front of us report.

    Each proxy appends whom it heard from, so with n of them the n-th entry from the end counts and
    whatever a client wrote in front of it does not.
    """
    hops = [part.strip() for part in forwarded.split(",") if part.strip()]
    count = settings.TRUSTED_PROXIES
    claimed = hops[-min(count, len(hops))] if count and hops else peer
    try:
        return str(ipaddress.ip_address(claimed))
    except ValueError:
        return peer


def from_django(request: HttpRequest) -> Credentials:
    """The credentials of a Django request; made once and kept on it."""
    known = getattr(request, "credentials", None)
    if known is not None:
        return known  # type: ignore[no-any-return]
    meta = request.META
    made = Credentials(
        headers=_headers(meta),
        query={name: values[0] for name, values in request.GET.lists() if values},
        cookies=request.COOKIES,
        method=request.method or "GET",
        path=request.path,
        raw_path=str(meta.get("RAW_URI") or quote(request.path, safe="/:@!$&'()*+,;=~")).split("?")[
            0
        ],
        ip=client_ip(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", "")),
        request_id=request_id(),
        query_string=meta.get("QUERY_STRING", ""),
        formation=meta.get("polymux.formation"),
    )
    request.credentials = made  # type: ignore[attr-defined]
    return made


def _headers(meta: Mapping[str, Any]) -> dict[str, str]:
    """The headers in a WSGI environ, as `request.headers` has them, in lower case."""
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in meta.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    }


def from_scope(scope: Mapping[str, Any]) -> Credentials:
    """The credentials of an ASGI connection (`http` or `websocket`); kept under `credentials`."""
    known = scope.get("credentials")
    if known is not None:
        return known  # type: ignore[no-any-return]
    headers: dict[str, str] = {}
    for name, value in scope.get("headers", ()):
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joint = "; " if key == "cookie" else ", "
        headers[key] = f"{headers[key]}{joint}{text}" if key in headers else text
    query_string = scope.get("query_string", b"").decode("latin-1")
    query: dict[str, str] = {}
    for name, value in parse_qsl(query_string, keep_blank_values=True, max_num_fields=1000):
        query.setdefault(name, value)
    peer = scope.get("client") or ("",)
    raw = scope.get("raw_path") or quote(scope.get("path", "/")).encode()
    made = Credentials(
        headers=headers,
        query=query,
        cookies=_cookies(headers.get("cookie", "")),
        method=scope.get("method", "GET"),
        path=scope.get("path", "/"),
        raw_path=raw.decode("latin-1").split("?")[0],
        ip=client_ip(str(peer[0] or ""), headers.get("x-forwarded-for", "")),
        request_id=request_id(),
        query_string=query_string,
        subprotocols=tuple(scope.get("subprotocols") or ()),
        formation=scope.get("formation"),
    )
    if isinstance(scope, dict):
        scope["credentials"] = made
    return made


def _cookies(header: str) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(header[:16_384])
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


@dataclass(slots=True)
class Admission:
    """One request on its way in. `headers` go on whatever answer follows, an error too."""

    surface: Surface
    credentials: Credentials
    caller: Caller | None = None
    place: Place | None = None
    actor: Actor | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def admit(
        self,
        *,
        workspace: Where | Callable[[Caller], Where] = None,
        scope: Scope = Scope.READ,
        realm: str = "",
        route: str = "",
        bucket: str = "",
        public: bool = False,
    ) -> Admission:
        """Prove, throttle, find the workspace, check the scope: in this surface's order.

        `workspace`: as the path spells it, its id, or a function of the caller that tells; None for
        routes above workspaces. `realm`: which credentials this route takes, where the surface has
        several. `route`: the route's template, for limits per route. `bucket`: `read` or `write`, when
        the method does not tell.
        """
        self.surface.admit(self, realm=realm, route=route, bucket=bucket, public=public)
        if public:
            return self
        caller = self.caller
        assert caller is not None
        where = workspace(caller) if callable(workspace) else workspace
        if where is not None:
            self.actor = self.surface.enter(caller, where, self.place)
        held = self.actor.scope if self.actor else caller.scope
        if held < scope:
            raise ScopeInsufficient(required=scope.word)
        return self

    def answer(self, error: BaseException) -> Reply:
        """`error` in the surface's words, with the headers gathered so far."""
        reply = self.surface.answer(error, self.credentials)
        return Reply(reply.status, {**self.headers, **reply.headers}, reply.body)


class Surface:
    """One documented API. Subclasses say how it proves, throttles and complains."""

    name: ClassVar[str] = ""
    statuses: ClassVar[Mapping[Kind, int]] = STATUSES
    limits_strangers: ClassVar[bool] = False  # the throttle stands before the login
    lenient_media: ClassVar[bool] = False  # a body is JSON whatever its content type says
    answers_deletions: ClassVar[bool] = False  # with a body, not with 204
    wrong_method_is_unknown: ClassVar[bool] = False  # 404 before the login, no 405

    # --- in -------------------------------------------------------------------------------------

    def prove(self, credentials: Credentials, *, realm: str = "") -> Caller:
        """The caller behind the credentials; `Unauthenticated` in this surface's words."""
        raise NotImplementedError

    def prove_near(
        self, credentials: Credentials, *, realm: str = ""
    ) -> tuple[Caller, Place | None]:
        """As `prove`, with the place the path names, where one statement reads both; for `enter`."""
        return self.prove(credentials, realm=realm), None

    def workspace_id(self, caller: Caller, workspace: str) -> UUID:
        """The workspace as this surface spells it in paths; NotFound."""
        return parse_id("ws", workspace)

    def enter(self, caller: Caller, workspace: str | UUID, place: Place | None = None) -> Actor:
        """The caller inside that workspace; WorkspaceMismatch or NotFound."""
        known = workspace if isinstance(workspace, UUID) else self.workspace_id(caller, workspace)
        return doors.actor_in(caller, known, place)

    def authenticate(
        self, credentials: Credentials, *, workspace: str | UUID | None = None, realm: str = ""
    ) -> Caller | Actor:
        """A caller, or an actor when the workspace is named. No throttle, no scope: see `admit`."""
        caller = self.prove(credentials, realm=realm)
        return caller if workspace is None else self.enter(caller, workspace)

    def throttle(
        self, caller: Caller | None, credentials: Credentials, *, route: str = "", bucket: str = ""
    ) -> dict[str, str]:
        """Count this request; the headers to send. `RateLimited` over the limit."""
        return {}

    def admit(
        self, admission: Admission, *, realm: str, route: str, bucket: str, public: bool
    ) -> None:
        """Prove and throttle, filling `admission.caller`, `.place` and `.headers`."""
        seen = admission.credentials
        if public or self.limits_strangers:
            admission.headers |= self.throttle(None, seen, route=route, bucket=bucket)
        if public:
            return
        admission.caller, admission.place = self.prove_near(seen, realm=realm)
        if not self.limits_strangers:
            admission.headers |= self.throttle(admission.caller, seen, route=route, bucket=bucket)

    # --- out ------------------------------------------------------------------------------------

    def status_of(self, error: DomainError) -> int:
        return self.statuses[error.kind]

    def error_body(self, error: DomainError, status: int, seen: Credentials) -> Any:
        """The body of an error: something `dumps` takes, or text, or bytes."""
        raise NotImplementedError

    def error_headers(self, error: DomainError, status: int, seen: Credentials) -> dict[str, str]:
        """Headers of an error beyond content type and caching."""
        headers = dict(error.headers) if isinstance(error, WindowSpent) else {}
        if after := error.details.get("retry_after"):
            headers["Retry-After"] = str(after)
        return headers

    def unknown_route(self, seen: Credentials) -> DomainError:
        """The error of a path that this surface does not have."""
        return UnknownRoute()

    def dumps(self, value: Any) -> bytes:
        """JSON as this surface writes it."""
        return to_json(value, inf_nan_mode="constants", fallback=str)

    def plain_headers(self, seen: Credentials) -> dict[str, str]:
        """Headers on every answer of this surface, good or bad."""
        return {"Cache-Control": "no-store"}

    def answer_error(
        self,
        error: DomainError,
        *,
        request_id: str,
        path: str,
        method: str,
        seen: Credentials | None = None,
    ) -> Reply:
        """`error` as a whole answer."""
        seen = seen or Credentials({}, {}, {}, method, path, path, "", request_id)
        status = self.status_of(error)
        body = self.error_body(error, status, seen)
        kind = JSON_TYPE
        if isinstance(body, str):
            body, kind = body.encode(), TEXT_TYPE
        raw = body if isinstance(body, bytes) else self.dumps(body)
        headers = self.plain_headers(seen) | self.error_headers(error, status, seen)
        return Reply(status, {"Content-Type": kind, **headers}, raw)

    def answer(self, error: BaseException, seen: Credentials) -> Reply:
        """Any exception as an answer; what nobody expected is logged whole and shown as internal."""
        known = domain_error(error)
        if known.kind is Kind.INTERNAL:
            log.error("%s %s failed (%s)", seen.method, seen.path, seen.request_id, exc_info=error)
        return self.answer_error(
            known, request_id=seen.request_id, path=seen.path, method=seen.method, seen=seen
        )


def domain_error(error: BaseException) -> DomainError:
    """`error` as a domain error: a database out of reach is Unavailable, the unexpected Internal."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, (OperationalError, InterfaceError)) and not _is_statement_fault(error):
        log.warning("the database does not answer: %s", type(error.__cause__ or error).__name__)
        return Unavailable(retry_after=2)
    return Internal()


# What PostgreSQL says while it cannot serve us: shutting down, starting, no room, connection lost.
_OUT_OF_REACH = ("57P01", "57P02", "57P03", "53300", "08")
# What passes when the whole operation is tried again: serialization, deadlock, a statement's time.
_WORTH_ANOTHER_TRY = ("40001", "40P01", "55P03", "57014")


def _is_statement_fault(error: Exception) -> bool:
    """True for an error of the statement itself; False when the database is out of reach or busy."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is not None and not state.startswith((*_OUT_OF_REACH, *_WORTH_ANOTHER_TRY))
