"""The feeds of a formation: events of a user, a session, a request; logs (contract/muxi.md §5.6)."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from tests.live.conftest import as_user
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"message": "Hello", "session_id": "s"}


class Heard:
    """What comes over one feed. Reading waits; `until` reads on to what it looks for."""

    def __init__(self, answer):
        self.answer, self.lines = answer, answer.iter_lines()

    def next(self):
        """(event, data) of the next frame; a comment is ("", its text)."""
        event = ""
        for line in self.lines:
            if line.startswith(":"):
                return "", line
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            if line.startswith("data: "):
                return event or "message", json.loads(line.removeprefix("data: "))
        return "", None

    def frames(self, last):
        """The frames up to the first of type `last`."""
        found = []
        while not found or found[-1]["type"] != last:
            event, data = self.next()
            assert data is not None, found
            if event:
                found.append(data)
        return found


@contextmanager
def listening(http, path):
    with http.stream("GET", path) as answer:
        heard = Heard(answer)
        assert heard.next() == ("", ": keepalive")  # the head, at once
        yield heard


def test_a_user_hears_of_their_own_turns_alone(kim, stack, team):
    with as_user(stack, team, "lee") as lee, listening(kim, "/events") as heard:
        lee.post("/chat", json=HELLO)
        told = kim.post("/chat", json=HELLO).json()["data"]
        found = heard.frames("chat.completed")
    assert [one["type"] for one in found] == ["chat.started", "agent.selected", "chat.completed"]
    assert {one["request_id"] for one in found} == {told["request_id"]}
    assert {one["session_id"] for one in found} == {"s"}
    assert set(found[0]) == {"type", "timestamp", "message", "session_id", "request_id"}


def test_a_session_is_listened_to_by_its_user_alone(kim, stack, team):
    kim.post("/chat", json=HELLO)
    with as_user(stack, team, "lee") as lee:
        refused = lee.get("/events/s")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    with listening(kim, "/events/s") as heard:
        kim.post("/chat", json=HELLO | {"session_id": "other"})
        told = kim.post("/chat", json=HELLO).json()["data"]
        found = heard.frames("chat.completed")
    assert {one["request_id"] for one in found} == {told["request_id"]}


def test_a_request_is_heard_token_for_token_to_its_end(kim, stack):
    stack.stub.script("default", Reply(("Good ", "morning"), delay=0.2))
    later = HELLO | {"mode": "async", "request_id": "r"}
    kim.post("/chat", json=later)
    with listening(kim, "/events/s/r") as heard:
        found = heard.frames("stream_completed")
        while heard.next()[1] is not None:  # and then it ends
            pass
    kinds = [one["type"] for one in found]
    assert (kinds[0], kinds[-2:]) == ("stream_open", ["completed", "stream_completed"])
    text = "".join(one["content"] for one in found if one["type"] == "content")
    assert text == "Good morning" == found[-2]["content"]
    assert {one["request_id"] for one in found} == {"r"}


def test_a_request_that_is_over_or_anothers_is_one_error(kim, stack, team):
    kim.post("/chat", json=HELLO | {"request_id": "r"})
    with as_user(stack, team, "lee") as lee:
        answers = [kim.get("/events/s/r"), lee.get("/events/s/r"), kim.get("/events/t/r")]
    told = [json.loads(answer.text.strip().removeprefix("data: ")) for answer in answers]
    assert [set(one) for one in told] == [{"error"}] * 3
    assert told[1] == told[2]


def test_logs_are_the_admins_and_filtered(kim, stack, team):
    assert kim.get("/logs?level=info").status_code == 401
    with as_user(stack, team, "", "admin") as admin:
        refused = admin.get("/logs")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_REQUEST")
        with listening(admin, "/logs?user_id=Kim&event_type=run.*") as heard:
            with as_user(stack, team, "lee") as lee, as_user(stack, team, "Kim") as big_kim:
                lee.post("/chat", json=HELLO)
                told = big_kim.post("/chat", json=HELLO).json()["data"]
            entries = []
            while len(entries) < 2:
                event, data = heard.next()
                entries += [data] if event == "log" else []
    assert [one["event_type"] for one in entries] == ["run.started", "run.ended"]
    assert {one["user_id"] for one in entries} == {"Kim"}
    assert {one["request_id"] for one in entries} == {told["request_id"]}
    assert set(entries[0]) == {
        "timestamp", "level", "event_type", "user_id", "session_id", "request_id", "agent_id",
        "message", "data",
    }  # fmt: skip


def test_a_revoked_key_ends_its_feeds(kim, stack, team):
    from apps.workspaces.models import ApiToken
    from apps.workspaces.services import revoke_key

    with listening(kim, "/events") as heard:
        key = ApiToken.objects.get(workspace_id=team.home_id, kind="client_key")
        revoke_key(team.home_owner, key.pk)
        wait_until(lambda: heard.next()[1] is None)
