"""Conversations and requests on the muxi-formation surface (contract/muxi.md §5.6).

Turns and streams are ASGI applications: `muxi_formation_chat.py`, `muxi_formation_streams.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.conversations import selectors, services
from apps.conversations.muxi import answers, asks
from apps.conversations.overlord import crew_of
from apps.formations.api.formation_view import FormationView
from apps.surfaces.fallback import served_on_loop
from apps.surfaces.parsing import StrictSerializer

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

CAPACITY = 1_000  # messages of a restored conversation: the newest
MOST_RESTORED = 5_000  # in one body
MOST_REQUESTS = 100  # shown, the newest


class Moment(serializers.Field[Any, Any, Any, Any]):
    """ISO 8601, or seconds since 1970 as `timestamp` says them."""

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return datetime.fromtimestamp(float(data), UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            found: datetime = serializers.DateTimeField().to_internal_value(str(data))
            return found

    def to_representation(self, value: Any) -> Any:
        return value


class Page(StrictSerializer):
    refuses_unknown = False
    limit = serializers.IntegerField(min_value=1, max_value=1_000, default=50)
    active_only = serializers.BooleanField(default=False)
    before = Moment(required=False)


class RestoredMessage(StrictSerializer):
    refuses_unknown = False
    role = serializers.ChoiceField(["user", "assistant", "system"])
    content = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=100_000)
    timestamp = Moment(required=False, allow_null=True)
    agent_id = serializers.CharField(required=False, allow_null=True, max_length=255)
    metadata = serializers.DictField(required=False, allow_null=True)


class Restored(StrictSerializer):
    refuses_unknown = False
    messages = serializers.ListField(child=RestoredMessage(), max_length=MOST_RESTORED)


class ClientView(FormationView):
    """Takes the client key, and always names its user."""

    realm = "client"

    @property
    def end_user(self) -> str:
        return self.whose() or ""

    @property
    def page(self) -> dict[str, Any]:
        return Page.read(dict(self.admission.credentials.query))


class SessionsView(ClientView):
    """The one spoken in last comes first."""

    def get(self, request: Request, **_: Any) -> Response:
        page = self.page
        rows = selectors.list_of_end_user(
            self.actor, self.end_user, active_only=page["active_only"], limit=page["limit"]
        )
        told = {"sessions": [answers.session_json(row) for row in rows], "count": len(rows)}
        return self.enveloped("session_list", "session.list", told)


class SessionView(ClientView):
    def get(self, request: Request, session_id: str, **_: Any) -> Response:
        session = selectors.get_of_end_user(self.actor, self.end_user, session_id)
        counts = selectors.counts_of(self.actor, [session.pk])
        told = answers.one_session_json(session, counts.get(session.pk, 0))
        return self.enveloped("session", "session.retrieved", told)


class MessagesView(ClientView):
    """A transcript, oldest first."""

    def get(self, request: Request, session_id: str, **_: Any) -> Response:
        session = selectors.get_of_end_user(self.actor, self.end_user, session_id)
        page = self.page
        rows, more = selectors.page_of_messages(
            self.actor, session.pk, limit=page["limit"], before=page.get("before")
        )
        agent = crew_of(self.actor, mark=self.running.generation).with_key(session.agent_id)
        names = selectors.request_names(self.actor, {row.run_id for row in rows if row.run_id})
        place = answers.Place(self.running.slug, agent.name if agent else None)
        said = answers.messages_json(rows, session, place, names)
        told = {"session_id": session_id, "messages": said, "count": len(said), "has_more": more}
        return self.enveloped("session", "session.messages.list", told)


class RestoreView(ClientView):
    """A conversation as its application remembers it, in place of what we have."""

    def post(self, request: Request, session_id: str, **_: Any) -> Response:
        asks.check_name("session_id", session_id)
        given = Restored.read(request.data)["messages"]
        kept = [answers.restored(message) for message in given[-CAPACITY:]]
        services.restore_session(self.actor, end_user=self.end_user, key=session_id, messages=kept)
        told = answers.restored_json(session_id, len(kept), len(given) - len(kept))
        return self.enveloped("session", "session.restored", told)


class RequestsView(FormationView):
    """The newest first. The admin key without a user sees everybody's."""

    def get(self, request: Request, **_: Any) -> Response:
        rows = selectors.list_requests(self.actor, self.whose(), limit=MOST_REQUESTS)
        told = {"requests": [answers.request_json(row) for row in rows], "count": len(rows)}
        return self.enveloped("request_list", "request.list.retrieved", told)


class RequestView(FormationView):
    def get(self, request: Request, request_id: str, **_: Any) -> Response:
        found = selectors.get_request(self.actor, self.whose(), request_id)
        told = answers.one_request_json(found, selectors.reply_of(self.actor, found))
        return self.enveloped("request_status", "request.status.retrieved", told)

    def delete(self, request: Request, request_id: str, **_: Any) -> Response:
        _found, ended = services.cancel_request(self.actor, self.whose(), request_id)
        told = answers.cancelled_json(request_id, ended=ended)
        return self.enveloped("request_status", "request.cancelled", told)


urlpatterns = [
    path("v1/chat", served_on_loop("POST")),
    path("v1/audiochat", served_on_loop("POST")),
    path("v1/sessions", SessionsView.as_view()),
    path("v1/sessions/<str:session_id>", SessionView.as_view()),
    path("v1/sessions/<str:session_id>/messages", MessagesView.as_view()),
    path("v1/sessions/<str:session_id>/restore", RestoreView.as_view()),
    path("v1/requests", RequestsView.as_view()),
    path("v1/requests/<str:request_id>", RequestView.as_view()),
    path("v1/events", served_on_loop("GET")),
    path("v1/events/<str:session_id>", served_on_loop("GET")),
    path("v1/events/<str:session_id>/<str:request_id>", served_on_loop("GET")),
    path("v1/logs", served_on_loop("GET")),
]
