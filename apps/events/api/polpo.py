"""Logs and health on the polpo surface (contract/polpo.md §3.7, §14). Its streams: `apps/events/live.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from apps.core.clock import rfc3339, uptime
from apps.core.errors import InvalidInput
from apps.events.logs import MOST_ENTRIES
from apps.events.selectors import list_log_entries, list_log_sessions
from apps.surfaces import polpo
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.events.logs import LogSession

SURFACE = polpo.SURFACE.name


class LogSessionBody(serializers.Serializer[Any]):
    sessionId = serializers.CharField()
    startedAt = serializers.DateTimeField()
    entries = serializers.IntegerField()


class LogSessions(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    data = LogSessionBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property


class LogEntries(serializers.Serializer[Any]):
    """`{ts, event, data}`; a run's log has the entries of §14."""

    ok = serializers.BooleanField()
    data = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]


class HealthData(serializers.Serializer[Any]):
    status = serializers.CharField()
    version = serializers.CharField()
    uptime = serializers.IntegerField(help_text="Whole seconds since the process started.")


class Health(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    data = HealthData()  # type: ignore[assignment]


class LogsView(PolpoView):
    """The newest logs, newest first: a day of the project each, and its runs."""

    gives = LogSessions

    def get(self, request: Request, **_: Any) -> Response:
        sessions = list_log_sessions(self.actor, surface=SURFACE)
        return self.ok([log_session_json(session) for session in sessions])


class LogView(PolpoView):
    """One log's newest entries, oldest first; an unknown log is empty."""

    gives = LogEntries

    @extend_schema(parameters=[OpenApiParameter("limit", int, description="1-1000, default 1000")])
    def get(self, request: Request, log_id: str, **_: Any) -> Response:
        limit = asked_limit(request.query_params.get("limit"))
        return self.ok(list_log_entries(self.actor, log_id, surface=SURFACE, limit=limit))


class HealthView(PolpoView):
    """Is it there? Asks for no key."""

    public = True
    gives = Health

    def get(self, request: Request, **_: Any) -> Response:
        return self.ok({"status": "ok", "version": settings.VERSION, "uptime": uptime()})


def log_session_json(session: LogSession) -> dict[str, Any]:
    return {
        "sessionId": session.id,
        "startedAt": rfc3339(session.started_at),
        "entries": session.entries,
    }


def asked_limit(text: str | None) -> int:
    """`?limit=`; InvalidInput for what is not 1 to 1000."""
    if text is None:
        return MOST_ENTRIES
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not 1 <= number <= MOST_ENTRIES:
        raise InvalidInput(f"limit is a number from 1 to {MOST_ENTRIES}.")
    return number


urlpatterns = [
    path("api/v1/health", HealthView.as_view()),
    *polpo.on_projects("logs", LogsView.as_view()),
    *polpo.on_projects("logs/<str:log_id>", LogView.as_view()),
]
