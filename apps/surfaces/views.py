"""The base views: DRF's request cycle with a surface's credentials, limits, errors and headers.

A view says what it needs in class attributes and finds `self.actor` (or `self.caller`) when its
method runs; it parses, calls a service or selector, and returns a `Response`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import errors
from apps.core.actor import Actor, Caller, Scope
from apps.core.ids import parse_session_id
from apps.surfaces import idempotency, muxi_formation, muxi_server, polpo, polyant, polymux
from apps.surfaces import molecule as molecule_surface
from apps.surfaces import openai as openai_surface
from apps.surfaces.kit import READING, Admission, Reply, Surface, Where, from_django
from apps.surfaces.openapi import SurfaceSchema
from apps.surfaces.parsing import AnyJSON, StrictJSON, is_clean, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http.response import HttpResponseBase
    from rest_framework.parsers import BaseParser
    from rest_framework.request import Request

_DRF_ERRORS: tuple[tuple[type[BaseException], type[errors.DomainError]], ...] = (
    (RequestDataTooBig, errors.TooLarge),
    (exceptions.MethodNotAllowed, errors.MethodNotAllowed),
    (exceptions.UnsupportedMediaType, errors.UnsupportedMedia),
    (exceptions.NotFound, errors.NotFound),
    (Http404, errors.NotFound),
    (exceptions.NotAuthenticated, errors.Unauthenticated),
    (exceptions.AuthenticationFailed, errors.Unauthenticated),
    (exceptions.PermissionDenied, errors.Forbidden),
    (PermissionDenied, errors.Forbidden),
    (exceptions.APIException, errors.InvalidInput),
    (SuspiciousOperation, errors.InvalidInput),
)


class FirstNegotiation(DefaultContentNegotiation):
    """We speak one language: `Accept` chooses nothing, a body without a type is the first parser's."""

    def select_parser(self, request: Any, parsers: Any) -> BaseParser | None:
        first: BaseParser = parsers[0]
        if not request.content_type:
            return first
        return super().select_parser(request, parsers)

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class SurfaceRenderer(BaseRenderer):
    """JSON as the surface writes it."""

    media_type = "application/json"
    format = "json"
    charset = None

    def __init__(self, surface: Surface) -> None:
        self.surface = surface

    def render(
        self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None
    ) -> bytes:
        return b"" if data is None else self.surface.dumps(data)


class _Replayed(Exception):
    """The answer to this request is known already."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept


class SurfaceView(APIView):
    """One resource of a surface. Subclass the surface's own view below, not this one.

    `required_scope`: one scope, or method -> scope; default read for GET and HEAD, else write.
    `bucket`: `read` or `write`, or method -> bucket, where the method misleads (a POST that reads).
    `realm`: the credentials the route takes, where the surface has several. `public`: needs none.
    """

    surface: ClassVar[Surface]
    realm: ClassVar[str | Mapping[str, str]] = ""
    public: ClassVar[bool | frozenset[str]] = False
    required_scope: ClassVar[Scope | Mapping[str, Scope] | None] = None
    bucket: ClassVar[str | Mapping[str, str]] = ""
    takes: ClassVar[Any] = (
        None  # serializer (or method -> serializer) of the body, for the document
    )
    gives: ClassVar[Any] = None  # serializer (or method -> serializer) of the answer
    max_body: ClassVar[int | None] = None  # bytes; default MAX_BODY_BYTES
    idempotent_methods: ClassVar[frozenset[str]] = frozenset()

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    content_negotiation_class = FirstNegotiation
    metadata_class = None
    default_response_headers: Mapping[str, str] = {}  # type: ignore[assignment]

    schema = SurfaceSchema()

    admission: Admission
    _claim: idempotency.Claim | None = None

    # --- what views use -------------------------------------------------------------------------

    @property
    def actor(self) -> Actor:
        """Who acts, in the workspace of this route."""
        if self.admission.actor is None:
            raise errors.NotFound
        return self.admission.actor

    @property
    def caller(self) -> Caller:
        """The proven credential, for routes above workspaces."""
        if self.admission.caller is None:
            raise errors.TokenMissing
        return self.admission.caller

    def workspace_of(self, caller: Caller) -> Where:
        """Where this route acts: as the path spells it, an id, or None above workspaces."""
        return None

    # --- DRF's seams ----------------------------------------------------------------------------

    def get_parsers(self) -> list[BaseParser]:
        if type(self).parser_classes is not APIView.parser_classes:
            return super().get_parsers()
        return [AnyJSON() if self.surface.lenient_media else StrictJSON()]

    def get_renderers(self) -> list[BaseRenderer]:
        return [SurfaceRenderer(self.surface)]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        self.admission = Admission(self.surface, from_django(request))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = str(request.method)
        if self.surface.wrong_method_is_unknown and not hasattr(self, method.lower()):
            raise self.surface.unknown_route(self.admission.credentials)
        match = request.resolver_match
        self.admission.admit(
            workspace=self.workspace_of,
            scope=self._scope(method),
            realm=_by_method(self.realm, method, ""),
            route=match.route if match else "",
            bucket=_by_method(self.bucket, method, ""),
            public=self.public if isinstance(self.public, bool) else method in self.public,
        )
        self._check_request(request)
        self._claim_key(request)

    def _scope(self, method: str) -> Scope:
        usual = Scope.READ if method in READING else Scope.WRITE
        if self.required_scope is None:
            return usual
        wanted: Scope = _by_method(self.required_scope, method, usual)
        return wanted

    def _check_request(self, request: Request) -> None:
        seen = self.admission.credentials
        if not is_clean(seen.path):
            raise errors.NotFound
        if not all(is_clean(name) and is_clean(value) for name, value in seen.query.items()):
            raise errors.InvalidInput("The query may not hold NUL characters.")
        limit = self.max_body or settings.MAX_BODY_BYTES
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            raise errors.TooLarge(max_upload_size=limit)

    # DRF takes any HttpResponseBase from a handler; its stubs know only its own Response.
    def handle_exception(  # type: ignore[override]
        self, exc: Exception
    ) -> HttpResponseBase:
        if isinstance(exc, _Replayed):
            return _replay(exc.kept)
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Callable[..., HttpResponse]:
        return self._answer

    def _answer(self, exc: Exception, context: Any) -> HttpResponse:
        response = as_django(self.admission.answer(translated(exc)))
        if isinstance(exc, exceptions.MethodNotAllowed):
            response.setdefault("Allow", ", ".join(self.allowed_methods))
        return response

    def finalize_response(  # type: ignore[override]
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        if isinstance(response, Response):
            response.render()
        seen = self.admission.credentials
        for name, value in {**self.surface.plain_headers(seen), **self.admission.headers}.items():
            response.setdefault(name, value)
        self._settle_key(response)
        return response

    # --- Idempotency-Key ------------------------------------------------------------------------

    def _claim_key(self, request: Request) -> None:
        seen = self.admission.credentials
        key = seen.headers.get("idempotency-key")
        if (
            key is None
            or request.method not in self.idempotent_methods
            or self.admission.caller is None
        ):
            return
        body = request._request.body if _is_small(request) else b""  # noqa: SLF001
        mark = idempotency.fingerprint(seen.method, seen.path, seen.query_string, body)
        caller = self.caller
        found = idempotency.claim(
            f"{self.surface.name}:{caller.token_id or caller.user_id}", key, mark
        )
        if not isinstance(found, idempotency.Claim):
            raise _Replayed(found)
        self._claim = found

    def _settle_key(self, response: HttpResponseBase) -> None:
        if self._claim is None:
            return
        claim, self._claim = self._claim, None
        if response.status_code >= 500 or response.status_code == 429 or response.streaming:
            claim.release()
            return
        content = response.content  # type: ignore[attr-defined]
        claim.keep(Reply(response.status_code, dict(response.items()), content))


def _by_method(value: Any, method: str, usual: Any) -> Any:
    return value.get(method, usual) if hasattr(value, "get") else value


def _is_small(request: Request) -> bool:
    return int(request.META.get("CONTENT_LENGTH") or 0) <= settings.MAX_BODY_BYTES and not str(
        request.content_type
    ).startswith("multipart/")


def _replay(kept: Any) -> HttpResponse:
    response = HttpResponse(bytes(kept.body), status=kept.status, content_type=None)
    for name, value in kept.headers.items():
        response[name] = value
    response[idempotency.REPLAY_HEADER] = "true"
    return response


def translated(exc: Exception) -> Exception:
    """DRF's and Django's own exceptions as domain errors; anything else unchanged."""
    if isinstance(exc, exceptions.ValidationError):
        return refused(exc.detail)
    for theirs, ours in _DRF_ERRORS:
        if isinstance(exc, theirs):
            return ours()
    return exc


def as_django(reply: Reply) -> HttpResponse:
    """A `Reply` as Django's response."""
    return HttpResponse(reply.body, status=reply.status, headers=reply.headers)


class PolymuxView(SurfaceView):
    """`/workspaces/{workspace_id}/…` and `/sessions/{session_id}/…`; else above workspaces.

    `account_wide`: the route needs a token for every workspace (`aud` = `*`, contract §2.2).
    """

    surface = polymux.SURFACE
    account_wide: ClassVar[bool] = False
    idempotent_methods = frozenset({"POST"})

    def workspace_of(self, caller: Caller) -> Where:
        if self.account_wide and not caller.everywhere:
            raise errors.WorkspaceMismatch("This needs a token for all workspaces.")
        if "workspace_id" in self.kwargs:
            return str(self.kwargs["workspace_id"])
        if "session_id" in self.kwargs:
            found = parse_session_id(str(self.kwargs["session_id"]))[0] or caller.workspace_id
            if found is None:
                raise errors.NotFound
            return found
        return None


class MuxiServerView(SurfaceView):
    """`/rpc/…`: acts in the workspace of the key."""

    surface = muxi_server.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return ""

    def ok(self, data: Any, status: int = 200) -> Response:
        """`data` in the success envelope (contract/muxi.md §3)."""
        return Response(muxi_server.envelope(data), status=status)


class MuxiFormationView(SurfaceView):
    """A formation's `/v1/…`: acts in its home, or else in the workspace of the key; `realm` admin,
    client or either. Apps from `formations` upward subclass its `api.formation_view` instead.
    """

    surface = muxi_formation.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return ""

    def _claim_key(self, request: Request) -> None:
        if request.method not in self.idempotent_methods:
            return
        seen = self.admission.credentials
        user = seen.headers.get("x-muxi-user-id") or seen.query.get("user_id", "")
        found = muxi_formation.claim_once(seen, self.actor.workspace_id, user)
        if found is not None and not isinstance(found, idempotency.Claim):
            raise _Replayed(found)
        self._claim = found

    def _settle_key(self, response: HttpResponseBase) -> None:
        """Only what was done is kept: what was refused may be tried again."""
        if self._claim is not None and response.status_code >= 300:
            claim, self._claim = self._claim, None
            claim.release()
        super()._settle_key(response)

    def enveloped(self, object_name: str, type_name: str, data: Any, status: int = 200) -> Response:
        """`data` in the formation's envelope."""
        seen = self.admission.credentials
        return Response(
            muxi_formation.envelope(object_name, type_name, seen, data=data), status=status
        )


class PolpoView(SurfaceView):
    """`/api/v1/projects/{project_id}/…` and `/api/v1/…` for the default project."""

    surface = polpo.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return str(self.kwargs.get("project_id", polpo.DEFAULT_PROJECT))

    def ok(self, data: Any, status: int = 200) -> Response:
        """`data` in the success envelope (contract/polpo.md §2.3)."""
        return Response(polpo.envelope(data), status=status)


class MoleculeView(SurfaceView):
    """`/workspaces/{workspace_id}/…` (WorkspaceAuth); `realm = "admin"` for AdminAuth."""

    surface = molecule_surface.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return str(self.kwargs["workspace_id"]) if "workspace_id" in self.kwargs else None


class PolyantView(SurfaceView):
    """`/api/instances/{slug}/…`; `realm = "superadmin"` or `"internal"` where the route asks for it."""

    surface = polyant.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return str(self.kwargs["slug"]) if "slug" in self.kwargs else None


class OpenAIView(SurfaceView):
    """`/v1/…`: acts in the workspace of the key; override `workspace_of` to choose another."""

    surface = openai_surface.SURFACE

    def workspace_of(self, caller: Caller) -> Where:
        return ""
