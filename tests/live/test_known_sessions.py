"""Completions in a conversation that is already there, and what others do to it meanwhile."""

from __future__ import annotations

import pytest

from apps.conversations.models import Session
from apps.runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = [{"role": "user", "content": "Hello"}]


def complete(client, headers=None, **body):
    asked = {"model": "polymux", "messages": HELLO, **body}
    return client.post("/v1/chat/completions", json=asked, headers=headers or {})


def test_a_paused_session_is_left_to_the_human(client, session):
    client.post(f"/sessions/{session['id']}/pause")
    answer = complete(client, {"x-session-id": session["id"]})
    assert (answer.status_code, "paused" in answer.json()["error"]["message"]) == (409, True)
    assert client.get(f"/sessions/{session['id']}").json()["status"] == "paused"
    assert not Run.unscoped.exists()


def test_a_session_that_ends_while_it_is_asked_stays_ended(client, session, monkeypatch):
    from apps.conversations import admission

    found = admission.get_session

    def found_then_ended(actor, session_id):
        known = found(actor, session_id)
        Session.unscoped.filter(pk=session_id).update(status="ended")
        return known

    monkeypatch.setattr(admission, "get_session", found_then_ended)
    answer = complete(client, {"x-session-id": session["id"]})
    assert answer.status_code == 410
    assert Session.unscoped.get().status == "ended"


def test_a_chat_id_is_free_again_when_its_session_was_deleted(client):
    first = complete(client, chat_id="mine")
    assert complete(client, chat_id="mine").headers["x-session-id"] == first.headers["x-session-id"]
    assert client.delete(f"/sessions/{first.headers['x-session-id']}").status_code == 204
    again = complete(client, chat_id="mine")
    assert again.status_code == 200, again.text
    assert again.headers["x-session-id"] != first.headers["x-session-id"]
