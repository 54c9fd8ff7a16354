"""Answers of the conversation operations, for the OpenAPI documents. Output is built in `wire.py`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.conversations.models import EndReason, MessageRole, SessionStatus


class SessionBody(serializers.Serializer[Any]):
    """The session object (contract/polymux.md §4.3)."""

    id = serializers.CharField()
    workspace_id = serializers.CharField()
    workflow_id = serializers.CharField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    title = serializers.CharField()
    status = serializers.ChoiceField(SessionStatus.values)
    end_reason = serializers.ChoiceField(EndReason.values, allow_null=True)
    is_draft = serializers.BooleanField()
    is_running = serializers.BooleanField()
    running_kind = serializers.CharField(allow_null=True)
    browser_mode = serializers.CharField()
    humanize = serializers.BooleanField()
    cloaked = serializers.BooleanField()
    position = serializers.FloatField()
    last_browser_states = serializers.ListField(child=serializers.DictField())
    token_budget = serializers.IntegerField(allow_null=True)
    tokens_used = serializers.IntegerField()
    metadata = serializers.DictField(child=serializers.CharField(allow_blank=True))
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    websocket_url = serializers.CharField()


class CreatedSession(SessionBody):
    session_token = serializers.CharField(help_text="Shown once; dies with the session.")


class SessionPage(serializers.Serializer[Any]):
    data = SessionBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property
    next_cursor = serializers.CharField(allow_null=True)


class MessageBody(serializers.Serializer[Any]):
    """The message object (contract/polymux.md §4.5)."""

    id = serializers.UUIDField()
    session_id = serializers.CharField()
    role = serializers.ChoiceField(MessageRole.values)
    agent_id = serializers.CharField(allow_null=True)
    content = serializers.CharField(allow_blank=True)
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()


class MessagePage(serializers.Serializer[Any]):
    data = MessageBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property
    next_cursor = serializers.CharField(allow_null=True)


class FileBody(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    size = serializers.IntegerField()
    mime_type = serializers.CharField()
    created_at = serializers.DateTimeField()


class FilePage(serializers.Serializer[Any]):
    data = FileBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property
    next_cursor = serializers.CharField(allow_null=True)


class FileUpload(serializers.Serializer[Any]):
    file = serializers.FileField()


class ModelBody(serializers.Serializer[Any]):
    id = serializers.CharField()
    object = serializers.CharField()
    created = serializers.IntegerField()
    owned_by = serializers.CharField()


class ModelList(serializers.Serializer[Any]):
    object = serializers.CharField()
    data = ModelBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property
