"""Conversations on the polpo surface: the same sessions as everywhere (contract/polpo.md §3.7, §13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from apps.conversations import selectors, services
from apps.conversations.polpo import message_json, sessions_json, tool_calls_of
from apps.core.ids import base62, parse_session_ref
from apps.formations.selectors import default_agent, find_agent
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from uuid import UUID

    from rest_framework.request import Request
    from rest_framework.response import Response

MOST_SESSIONS = 200  # the ones changed last
MOST_MESSAGES = 1_000  # the newest of a session


class NewTitle(StrictSerializer):
    refuses_unknown = False
    title = serializers.CharField(min_length=1, max_length=200)


class ImportedMessage(StrictSerializer):
    refuses_unknown = False
    role = serializers.ChoiceField(["user", "assistant"])
    content = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=100_000)
    ts = serializers.DateTimeField(required=False)


class Import(StrictSerializer):
    refuses_unknown = False
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    agent = serializers.CharField(max_length=100, required=False, allow_blank=True)
    messages = serializers.ListField(
        child=ImportedMessage(), min_length=1, max_length=MOST_MESSAGES
    )


class SessionsView(PolpoView):
    """Most recently changed first."""

    def get(self, request: Request, **_: Any) -> Response:
        rows = list(selectors.list_by_change(self.actor)[:MOST_SESSIONS])
        return self.ok({"sessions": sessions_json(self.actor, rows)})


class SessionView(PolpoView):
    @property
    def session_id(self) -> UUID:
        return parse_session_ref(str(self.kwargs["session_id"]))[1]

    def patch(self, request: Request, **_: Any) -> Response:
        title = NewTitle.read(request.data)["title"]
        services.update_session(self.actor, self.session_id, title=title)
        return self.ok({"renamed": True})

    def delete(self, request: Request, **_: Any) -> Response:
        services.delete_session(self.actor, self.session_id)
        return self.ok({"deleted": True})


class MessagesView(PolpoView):
    """A transcript, oldest first, with the tool calls of each reply."""

    def get(self, request: Request, session_id: str, **_: Any) -> Response:
        session = selectors.get_session(self.actor, parse_session_ref(session_id)[1])
        rows = selectors.spoken(self.actor, session.pk, limit=MOST_MESSAGES)
        calls = tool_calls_of(self.actor, rows)
        told = [message_json(row, calls.get(row.run_id)) for row in rows]
        return self.ok({"session": sessions_json(self.actor, [session])[0], "messages": told})


class ImportView(PolpoView):
    """A conversation that took place elsewhere (§4)."""

    def post(self, request: Request, **_: Any) -> Response:
        fields = Import.read(request.data)
        name = fields.pop("agent", "")
        agent = find_agent(self.actor, name) if name else default_agent(self.actor)
        session = services.import_session(self.actor, agent_id=agent.id, **fields)
        told = {"sessionId": base62(session.pk), "imported": len(fields["messages"])}
        return self.ok(told, status=201)


urlpatterns = [
    *on_projects("chat/sessions", SessionsView.as_view()),
    *on_projects("chat/sessions/import", ImportView.as_view()),
    *on_projects("chat/sessions/<str:session_id>", SessionView.as_view()),
    *on_projects("chat/sessions/<str:session_id>/messages", MessagesView.as_view()),
]
