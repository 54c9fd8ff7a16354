"""Completions in a conversation that is already there, and what others do to it meanwhile."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from apps.conversations.models import Session
from apps.runs.models import Run
from tests.live.conftest import attach

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
    from apps.conversations import continuing

    found = continuing.get_session

    def found_then_ended(actor, session_id):
        known = found(actor, session_id)
        Session.unscoped.filter(pk=session_id).update(status="ended")
        return known

    monkeypatch.setattr(continuing, "get_session", found_then_ended)
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


async def test_a_socket_does_not_outlive_the_session_it_was_opened_for(session, monkeypatch):
    """It ended after the credential was proven, before the stream began: no frame would tell."""
    from apps.conversations import live

    admit = live._admit

    def admitted_then_ended(seen):
        found = admit(seen)
        Session.unscoped.update(status="ended")
        return found

    monkeypatch.setattr(live, "_admit", admitted_then_ended)
    with pytest.raises(InvalidStatus) as refused:
        async with attach(session) as socket:
            await socket.next()
    assert refused.value.response.status_code == 410
