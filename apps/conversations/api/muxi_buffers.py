"""Buffers of a formation's conversations: how full they are, and clearing them (contract/muxi.md §5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.conversations.buffers import buffer_size, list_buffers, total_buffers
from apps.conversations.selectors import find_told_session
from apps.conversations.services.buffers import clear_buffers
from apps.core.clock import rfc3339
from apps.core.ids import wire_id
from apps.formations.api.formation_view import FormationView
from apps.formations.api.muxi_shapes import answer_of
from apps.surfaces.muxi_formation import ADMIN

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.conversations.buffers import Buffer


class BufferStats(serializers.Serializer[Any]):
    total_entries = serializers.IntegerField()
    total_users = serializers.IntegerField()
    total_sessions = serializers.IntegerField()
    buffer_size_kb = serializers.FloatField()
    max_size = serializers.IntegerField()
    utilization = serializers.FloatField()


class BufferLine(serializers.Serializer[Any]):
    session_id = serializers.CharField()
    message_count = serializers.IntegerField()
    last_activity = serializers.DateTimeField()


class BufferShown(serializers.Serializer[Any]):
    user_id = serializers.CharField(allow_null=True)
    total_messages = serializers.IntegerField()
    sessions = BufferLine(many=True)
    buffer_size_kb = serializers.FloatField()


class UserBufferCleared(serializers.Serializer[Any]):
    message = serializers.CharField()
    user_id = serializers.CharField(allow_null=True)
    messages_cleared = serializers.IntegerField()
    sessions_cleared = serializers.IntegerField()


class SessionBufferCleared(serializers.Serializer[Any]):
    message = serializers.CharField()
    user_id = serializers.CharField()
    session_id = serializers.CharField()
    messages_cleared = serializers.IntegerField()


class SizedView(FormationView):
    @property
    def size(self) -> int:
        """How many messages a conversation's buffer holds here."""
        return buffer_size(self.running.config.get("memory"))


class BufferView(SizedView):
    """One user's; with the admin key and no user, everybody's (C14)."""

    gives = {"GET": answer_of(BufferShown), "DELETE": answer_of(UserBufferCleared)}

    def get(self, request: Request, **_: Any) -> Response:
        user, size = self.whose(), self.size
        total = total_buffers(self.actor, user, size=size)
        data = {
            "user_id": user,
            "total_messages": total.messages,
            "sessions": [_line(buffer) for buffer in list_buffers(self.actor, user, size=size)],
            "buffer_size_kb": _kib(total.bytes),
        }
        return self.enveloped("memory_buffer", "memory.buffer.status", data)

    def delete(self, request: Request, **_: Any) -> Response:
        user = self.whose()
        done = clear_buffers(self.actor, user)
        data = {
            "message": f"The buffer of {'every user' if user is None else user} is cleared.",
            "user_id": user,
            "messages_cleared": done.messages,
            "sessions_cleared": done.sessions,
        }
        return self.enveloped("message", "memory.buffer.user.cleared", data)


class SessionBufferView(FormationView):
    gives = answer_of(SessionBufferCleared)

    def delete(self, request: Request, session_id: str, **_: Any) -> Response:
        session = find_told_session(self.actor, self.whose(), session_id)
        done = clear_buffers(self.actor, session.end_user, session_id=session.pk)
        data = {
            "message": f"The buffer of session {session_id} is cleared.",
            "user_id": session.end_user,
            "session_id": session_id,
            "messages_cleared": done.messages,
        }
        return self.enveloped("message", "memory.buffer.session.cleared", data)


class StatsView(SizedView):
    """`utilization`: of the room that all these conversations have together, 0 to 1."""

    realm = ADMIN
    gives = {"GET": answer_of(BufferStats)}

    def get(self, request: Request, **_: Any) -> Response:
        total, size = total_buffers(self.actor, None, size=self.size), self.size
        data = {
            "total_entries": total.messages,
            "total_users": total.users,
            "total_sessions": total.sessions,
            "buffer_size_kb": _kib(total.bytes),
            "max_size": size,
            "utilization": round(total.messages / (size * max(total.sessions, 1)), 4),
        }
        return self.enveloped("memory_stats", "memory.stats.retrieved", data)


def _line(buffer: Buffer) -> dict[str, Any]:
    """One opened elsewhere has no name here, and is called by its id."""
    session = buffer.session
    return {
        "session_id": session.external_key or wire_id("sess", session.pk),
        "message_count": buffer.messages,
        "last_activity": rfc3339(buffer.newest),
    }


def _kib(size: int) -> float:
    return round(size / 1024, 3)


urlpatterns = [
    path("v1/memory/stats", StatsView.as_view()),
    path("v1/memory/buffer", BufferView.as_view()),
    path("v1/memory/buffer/<str:session_id>", SessionBufferView.as_view()),
]
