"""Chat of a formation's users, over a real socket (contract/muxi.md §5.5)."""

from __future__ import annotations

import base64
import json
import threading

import httpx
import pytest

from apps.conversations.models import Attachment, Message, Session, TurnRequest
from apps.formations.services import create_agent
from apps.runs.models import Run
from tests.live.conftest import as_user
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"message": "Hello"}


def test_a_chat_is_answered_in_the_envelope(kim):
    answer = kim.post("/chat", json=HELLO)
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["object"], body["type"], body["success"]) == (
        "chat_response",
        "chat.completed",
        True,
    )
    data = body["data"]
    assert data["message"]["content"] == "Hello from the stub."
    assert data["user_id"] == "kim"
    assert data["session_id"].startswith("sess_")
    assert data["request_id"] == body["request"]["id"]
    session = Session.unscoped.get(external_key=data["session_id"])
    assert (session.end_user, session.source, session.status) == ("kim", "muxi", "idle")
    asked = TurnRequest.unscoped.get(name=data["request_id"])
    assert (asked.run.status, asked.end_user) == ("succeeded", "kim")
