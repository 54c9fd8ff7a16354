"""Is it alive, is it ready, what does it count: `/health`, `/livez`, `/readyz`, `/metrics`.

`/health` and `/livez` ask nobody: they say that this process answers, and are served straight from
the ASGI router (`asgi_health`). `/readyz` asks every part that a request needs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe

from apps.core.actor import Scope
from apps.core.clock import now, rfc3339, uptime
from apps.core.errors import DomainError
from apps.core.rows import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric
    from prometheus_client.registry import CollectorRegistry

log = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]
PART_SECONDS = 3.0  # for one part of /readyz; a probe gives up after 4 s


def health() -> dict[str, Any]:
    """What `GET /health` answers: the union of what its readers look for.

    `service` is a documented constant of one of them (contract/polyant.md B21); `success` and `data`
    are another's (contract/muxi.md §3.6).
    """
    seconds = uptime()
    return {
        "status": "ok",
        "timestamp": rfc3339(now()),
        "service": "polyant",
        "success": True,
        "version": settings.VERSION,
        "uptime": seconds,
        "data": {"status": "ok", "version": settings.VERSION, "uptime": seconds},
    }


async def asgi_health(scope: dict[str, Any], _receive: object, send: Send) -> None:
    """`/health` and `/livez` without a thread, a view or the database. GET and HEAD only."""
    reads = scope["method"] in {"GET", "HEAD"}
    body = json.dumps(health() if reads else {"error": "method not allowed"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if not reads:
        headers.append((b"allow", b"GET, HEAD"))
    status = 200 if reads else 405
    await send({"type": "http.response.start", "status": status, "headers": headers})
    sent = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": sent})


@require_safe
def health_view(_request: HttpRequest) -> HttpResponse:
    return _fresh(JsonResponse(health()))


# --- ready -----------------------------------------------------------------------------------------


def check_database() -> None:
    execute("SELECT 1", [])


def check_live_frames() -> None:
    """One message through the channel layer and back."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    async def round_trip() -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "ready.probe"})
        await layer.receive(channel)

    async_to_sync(round_trip)()


def check_worker() -> None:
    """A worker has done its job of every 5 seconds lately."""
    from polymux.embedded.watch import is_fresh

    if not is_fresh():
        raise LookupError("no sign of life from a worker")


PARTS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "live_frames": check_live_frames,
    "worker": check_worker,
}


def readiness() -> dict[str, str]:
    """Each part and `ok`, `failed` or `slow`. Takes at most `PART_SECONDS`, whatever hangs."""
    deadline = time.monotonic() + PART_SECONDS
    asked = {name: _pool().submit(_ask, name, check) for name, check in PARTS.items()}
    return {name: _answer(future, deadline) for name, future in asked.items()}


@cache
def _pool() -> ThreadPoolExecutor:
    """Probes hang in threads of their own, never in those that serve requests."""
    return ThreadPoolExecutor(len(PARTS) * 2, thread_name_prefix="ready")


def _ask(name: str, check: Callable[[], None]) -> str:
    from django.db import connections

    try:
        check()
    except Exception:
        log.warning("not ready: %s", name, exc_info=True)
        return "failed"
    finally:
        connections.close_all()
    return "ok"


def _answer(future: Future[str], deadline: float) -> str:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except TookTooLong:
        future.cancel()
        return "slow"


@require_safe
def ready_view(_request: HttpRequest) -> HttpResponse:
    """200 when every part works, else 503 that names the ones that do not."""
    parts = readiness()
    ready = all(state == "ok" for state in parts.values())
    body = {"status": "ok" if ready else "unavailable", "parts": parts}
    return _fresh(JsonResponse(body, status=200 if ready else 503))


# --- metrics ---------------------------------------------------------------------------------------

COUNTS = """
SELECT 'runs', status, count(*)::float8 FROM runs_run GROUP BY status
UNION ALL SELECT 'sessions_active', '', count(*) FROM conversations_session
    WHERE status <> 'ended' AND deleted_at IS NULL
UNION ALL SELECT 'queue_oldest', '', coalesce(extract(epoch FROM now() - min(created_at)), 0)
    FROM runs_run WHERE status = 'queued'
UNION ALL SELECT 'events', '', coalesce(sum(seq), 0) FROM events_streamhead
UNION ALL SELECT 'worker_age', '', coalesce(extract(epoch FROM now() - max(at)), -1)
    FROM embedded_heartbeat WHERE name = 'worker'
"""


class Platform:
    """Counts over all workspaces, read when somebody asks."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        rows = execute(COUNTS, [])
        single = {name: value for name, _, value in rows}
        runs = GaugeMetricFamily("polymux_runs", "Runs by status.", labels=["status"])
        by_status = {status: value for name, status, value in rows if name == "runs"}
        for status, value in by_status.items():
            runs.add_metric([status], value)
        yield runs
        for name, text, value in (
            ("polymux_sessions_active", "Sessions not ended.", single["sessions_active"]),
            ("polymux_queue_depth", "Runs waiting for a worker.", by_status.get("queued", 0)),
            ("polymux_queue_oldest_seconds", "Age of the oldest of them.", single["queue_oldest"]),
            (
                "polymux_worker_silence_seconds",
                "Since the last sign of life; -1: never.",
                single["worker_age"],
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        yield CounterMetricFamily("polymux_events", "Events recorded.", value=single["events"])


@cache
def registry() -> CollectorRegistry:
    """Made at the first question: nobody pays for it at start."""
    from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
    from prometheus_client.registry import CollectorRegistry

    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    made.register(Platform())
    return made


def may_read_metrics(request: HttpRequest) -> bool:
    """Operators: a staff login, or an account-wide admin token of a staff member."""
    if settings.METRICS_OPEN or request.user.is_staff:
        return True
    from apps.accounts.models import User
    from apps.surfaces.kit import from_django
    from apps.surfaces.polymux import SURFACE

    try:
        caller = SURFACE.prove(from_django(request))
    except DomainError:
        return False
    whole = caller.scope >= Scope.ADMIN and caller.everywhere and caller.session_id is None
    if not whole or caller.user_id is None:
        return False
    return User.objects.filter(pk=caller.user_id, is_staff=True, is_active=True).exists()


@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; for operators, unless `POLYMUX_METRICS_OPEN`."""
    if not may_read_metrics(request):
        answer = HttpResponse("metrics are for operators\n", "text/plain", status=401)
        answer["WWW-Authenticate"] = "Bearer"
        return _fresh(answer)
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return _fresh(HttpResponse(generate_latest(registry()), CONTENT_TYPE_LATEST))


def _fresh(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"
    return answer


urlpatterns = [
    path("health", health_view),
    path("livez", health_view),
    path("readyz", ready_view),
    path("metrics", metrics_view),
]
