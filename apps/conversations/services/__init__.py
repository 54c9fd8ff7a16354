"""Verbs on conversations, one module a group."""

from __future__ import annotations

from apps.conversations.services.attachments import attach_file, remove_file
from apps.conversations.services.imports import import_session, restore_session
from apps.conversations.services.messages import post_message
from apps.conversations.services.requests import accept_turn, cancel_request, forget_requests
from apps.conversations.services.sessions import (
    create_session,
    delete_session,
    end_idle_sessions,
    end_session,
    pause_session,
    resume_session,
    touch_session,
    update_session,
)
from apps.conversations.services.turns import decide_pending, stop_turn

__all__ = [
    "accept_turn",
    "attach_file",
    "cancel_request",
    "create_session",
    "decide_pending",
    "delete_session",
    "end_idle_sessions",
    "end_session",
    "forget_requests",
    "import_session",
    "pause_session",
    "post_message",
    "remove_file",
    "restore_session",
    "resume_session",
    "stop_turn",
    "touch_session",
    "update_session",
]
