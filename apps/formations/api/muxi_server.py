"""The muxi-server surface (contract/muxi.md §3). Log streams, and the doors that refuse a bundle before it
is read, stand in `formations/live.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.http import FileResponse, HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic_core import to_json

from apps.core.errors import DomainError, InvalidInput
from apps.formations import archive, selectors, services, wire
from apps.formations.api import uploads
from apps.formations.api.drafts import act, answered, dev_answer
from apps.formations.api.progress import holding, streamed, wants_events
from apps.formations.log import read_log
from apps.surfaces.fallback import served_on_loop
from apps.surfaces.views import MuxiServerView

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.formations.api.progress import Shape, Steps

USUAL_LINES, MOST_LINES = 100, 10_000
STREAMS = ("all", "stdout", "stderr")
LINES = [
    OpenApiParameter("lines", int, description="1-10000, default 100; `limit` means the same"),
    OpenApiParameter("stream", str, description="stdout, stderr or all"),
    OpenApiParameter("follow", str, description="`true` or `1`: new lines as server-sent events"),
]


class RpcView(MuxiServerView):
    """One resource below `/rpc`. Every proven call is recorded."""

    gives: ClassVar[Any] = OpenApiTypes.OBJECT
    _began: float

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        self._began = time.monotonic()
        return super().initialize_request(request, *args, **kwargs)

    def finalize_response(  # type: ignore[override]  # as in its base
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        answer = super().finalize_response(request, response, *args, **kwargs)
        note(self.admission, answer.status_code, self._began)
        return answer

    @property
    def base(self) -> str:
        """Where this server is, as its client or the operator says."""
        return settings.PUBLIC_URL.rstrip("/") or self.request.build_absolute_uri("/").rstrip("/")

    def run(self, steps: Steps, shape: Shape, status: int = 200) -> HttpResponseBase:
        """Carry the operation out, telling its stages to who asked for them."""
        if wants_events(self.admission.credentials):
            return streamed(steps, self.base)
        return self.ok(shape(services.finished(steps), self.base), status)


def note(admission: Any, status: int, began: float) -> None:
    """Record a call, once it is known whose it is."""
    if admission.actor is None:
        return
    seen, milliseconds = admission.credentials, (time.monotonic() - began) * 1000
    services.note_call(
        admission.actor,
        method=seen.method,
        path=seen.path,
        status=status,
        milliseconds=milliseconds,
    )


class FormationsView(RpcView):
    """`POST` takes the archive itself; `X-Formation-ID`, and if sent `X-Formation-Version`, must fit."""

    max_body = settings.MAX_UPLOAD_BYTES  # what the bridge lets in
    takes: ClassVar[Any] = {"POST": {"application/gzip": OpenApiTypes.BINARY}}

    def get(self, request: Request) -> Response:
        found = selectors.list_formations(self.actor)[: selectors.MOST_FORMATIONS]
        items = [wire.shown(formation) for formation in found]
        return self.ok({"formations": items, "total": len(items)})

    def post(self, request: Request) -> HttpResponseBase:
        seen = self.admission.credentials
        uploads.check_type(seen)
        slug = uploads.formation_header(seen)
        services.check_new(self.actor, slug)
        bundle, version = uploads.spooled(request.stream), uploads.version_header(seen)
        steps = services.deploy(self.actor, bundle, slug=slug, version=version)
        return self.run(holding(bundle, steps), wire.deployed, 201)


class FormationView(RpcView):
    """`PUT` takes the archive of the next version."""

    max_body = settings.MAX_UPLOAD_BYTES  # what the bridge lets in
    takes: ClassVar[Any] = {"PUT": {"application/gzip": OpenApiTypes.BINARY}}

    def get(self, request: Request, formation_id: str) -> Response:
        return self.ok(wire.shown_whole(selectors.find_formation(self.actor, formation_id)))

    def put(self, request: Request, formation_id: str) -> HttpResponseBase:
        seen = self.admission.credentials
        uploads.check_type(seen)
        services.check_update(self.actor, formation_id)
        bundle, version = uploads.spooled(request.stream), uploads.version_header(seen)
        steps = services.update(self.actor, bundle, slug=formation_id, version=version)
        return self.run(holding(bundle, steps), wire.updated)

    def delete(self, request: Request, formation_id: str) -> Response:
        services.delete_formation(self.actor, formation_id)
        return self.ok({"id": formation_id, "message": "Formation deleted"})


class DeployView(RpcView):
    """As the Python SDK deploys: `{"bundle": "<base64 tar.gz>", "version": "…"}` (contract C3)."""

    takes: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        services.check_new(self.actor, formation_id)
        bundle, version = uploads.bundle_in(request.data)
        steps = services.deploy(self.actor, bundle, slug=formation_id, version=version)
        return self.run(holding(bundle, steps), wire.deployed, 201)


class UpdateView(RpcView):
    """As `DeployView`, for the next version."""

    takes: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        services.check_update(self.actor, formation_id)
        bundle, version = uploads.bundle_in(request.data)
        steps = services.update(self.actor, bundle, slug=formation_id, version=version)
        return self.run(holding(bundle, steps), wire.updated)


class StartView(RpcView):
    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        return self.run(services.start(self.actor, formation_id), wire.started)


class RestartView(RpcView):
    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        return self.run(services.restart(self.actor, formation_id), wire.restarted)


class RollbackView(RpcView):
    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        return self.run(services.roll_back(self.actor, formation_id), wire.rolled_back)


class StopView(RpcView):
    def post(self, request: Request, formation_id: str) -> Response:
        status = services.stop(self.actor, formation_id).status
        return self.ok({"id": formation_id, "status": status, "message": "Formation stopped"})


class CancelUpdateView(RpcView):
    def post(self, request: Request, formation_id: str) -> Response:
        formation, staging, current = services.cancel_update(self.actor, formation_id)
        return self.ok(
            {
                "message": "Update cancelled",
                "formation_id": formation_id,
                "staging_port": staging,
                "status": formation.status,
                "current_port": current,
            }
        )


class LogsView(RpcView):
    """The newest lines. With `follow` it streams: `formations/live.py`."""

    @extend_schema(parameters=LINES)
    def get(self, request: Request, formation_id: str) -> Response:
        lines, stream = asked_lines(request.query_params), asked_stream(request.query_params)
        formation = selectors.find_formation(self.actor, formation_id)
        log = read_log(self.actor, formation, lines)
        return self.ok(wire.shown_log(formation.slug, log, stream))


class DownloadView(RpcView):
    """The deployed bundle as a zip; `?db=true` with its memory."""

    gives: ClassVar[Any] = {"GET": {(200, "application/zip"): OpenApiTypes.BINARY}}

    @extend_schema(parameters=[OpenApiParameter("db", bool)])
    def get(self, request: Request, formation_id: str) -> FileResponse:
        formation = selectors.find_formation(self.actor, formation_id)
        with_memory = request.query_params.get("db") == "true"
        made = archive.zipped(formation.current.storage_key, with_memory=with_memory)
        return FileResponse(
            made,
            as_attachment=True,
            filename=f"{formation.slug}.zip",
            content_type="application/zip",
        )


class DraftFilesView(RpcView):
    """Files of a draft: `{action, mode, path, content, encoding}` (contract §3.8)."""

    takes: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request, formation_id: str) -> HttpResponseBase:
        try:
            found = act(self.actor, formation_id, request.data)
            if hasattr(found, "__next__"):
                return self.run_draft(found, formation_id)
        except DomainError as error:
            return answered(self.actor, formation_id, error=error)
        return answered(self.actor, formation_id, found)

    def run_draft(self, steps: Steps, formation_id: str) -> HttpResponseBase:
        if wants_events(self.admission.credentials):
            return streamed(steps, self.base)
        data = wire.deployed(services.finished(steps), self.base)
        return answered(self.actor, formation_id, data)


class DevRunView(RpcView):
    """Run a draft beside what is deployed: `{"formation_id"}`, or `{"path"}` where that is allowed."""

    takes: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request) -> Response:
        return dev_answer(self.actor, request.data, run=True)


class DevStopView(RpcView):
    takes: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request) -> Response:
        return dev_answer(self.actor, request.data, run=False)


class ServerStatusView(RpcView):
    def get(self, request: Request) -> Response:
        counts, ports = (
            selectors.count_formations(self.actor),
            selectors.port_pool(self.actor),
        )
        home, port = self.actor.workspace_id, int(request.get_port())
        return self.ok(wire.server_status(counts, ports, home=home, port=port))


class ServerLogsView(RpcView):
    """One JSON object a line: the calls of this surface."""

    gives: ClassVar[Any] = {"GET": {(200, "text/plain"): OpenApiTypes.STR}}

    @extend_schema(parameters=LINES[:1])
    def get(self, request: Request) -> HttpResponse:
        calls = selectors.list_calls(self.actor, asked_lines(request.query_params))
        text = b"".join(to_json(wire.shown_call(call)) + b"\n" for call in calls)
        return HttpResponse(text, content_type="text/plain; charset=utf-8")


class PingView(MuxiServerView):
    public = True
    gives: ClassVar[Any] = {"GET": {(200, "text/plain"): OpenApiTypes.STR}}

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse("pong", content_type="text/plain; charset=utf-8")


def asked_lines(query: Any) -> int:
    """`?lines=` or, as the SDK says it, `?limit=` (contract C4). More than may be is as many as may be."""
    text = query.get("lines") or query.get("limit")
    if text is None:
        return USUAL_LINES
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise InvalidInput(f"lines is a number from 1 to {MOST_LINES}.")
    return min(int(text), MOST_LINES)


def asked_stream(query: Any) -> str:
    stream: str = query.get("stream") or "all"
    if stream not in STREAMS:
        raise InvalidInput(f"stream is one of {', '.join(STREAMS)}.")
    return stream


ONE = "rpc/formations/<str:formation_id>"
# Those with stages stand under `/stream`, too, as the SDK asks for their events (contract C3).
STAGED = {
    "deploy": DeployView,
    "update": UpdateView,
    "start": StartView,
    "restart": RestartView,
    "rollback": RollbackView,
}

urlpatterns = [
    path("ping", PingView.as_view()),
    path("rpc/formations", FormationsView.as_view()),
    path(ONE, FormationView.as_view()),
    *(path(f"{ONE}/{verb}", view.as_view()) for verb, view in STAGED.items()),
    *(path(f"{ONE}/{verb}/stream", view.as_view()) for verb, view in STAGED.items()),
    path(f"{ONE}/stop", StopView.as_view()),
    path(f"{ONE}/cancel-update", CancelUpdateView.as_view()),
    path(f"{ONE}/logs", LogsView.as_view()),
    path(f"{ONE}/logs/stream", served_on_loop("GET")),
    path(f"{ONE}/download", DownloadView.as_view()),
    path(f"{ONE}/draft/files", DraftFilesView.as_view()),
    path("rpc/dev/run", DevRunView.as_view()),
    path("rpc/dev/stop", DevStopView.as_view()),
    path("rpc/server/status", ServerStatusView.as_view()),
    path("rpc/server/logs", ServerLogsView.as_view()),
]
