"""Chat of a formation's users, over a real socket (contract/muxi.md §5.5)."""

from __future__ import annotations

import base64
import json
import threading

import httpx
import pytest

from apps.conversations.inline import InlineJournal, live_run
from apps.conversations.models import Attachment, Message, Session, TurnRequest
from apps.conversations.muxi.admission import admit_chat
from apps.engine.ports import Spend
from apps.formations.services import create_agent
from apps.runs.models import Run
from apps.surfaces.kit import Credentials
from tests.live.conftest import as_user
from tests.support.formations import MANY_USERS, document_of, make_formation
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


def test_a_conversation_goes_on_and_is_its_users_alone(kim, stack, team):
    first = kim.post("/chat", json=HELLO | {"session_id": "trip"}).json()["data"]
    assert first["session_id"] == "trip"
    kim.post("/chat", json={"message": "And now?", "session_id": "trip"})
    said = [message["content"] for message in stack.stub.requests[-1].body["messages"][1:]]
    assert said == ["Hello", "Hello from the stub.", "And now?"]
    with as_user(stack, team, "lee") as lee:
        lee.post("/chat", json={"message": "Mine", "session_id": "trip"})
    said = [message["content"] for message in stack.stub.requests[-1].body["messages"][1:]]
    assert said == ["Mine"]
    assert Session.unscoped.filter(external_key="trip").count() == 2


def test_who_names_nobody_speaks_as_nobody_in_particular(stack, team):
    with as_user(stack, team, "") as http:
        assert http.post("/chat", json=HELLO).json()["data"]["user_id"] == "0"
        told = http.post("/chat", json=HELLO | {"user_id": "Kim@Example.org"}).json()["data"]
    assert told["user_id"] == "Kim@Example.org"  # echoed as it was said
    assert Session.unscoped.filter(end_user="kim@example.org").exists()


STREAM = {"Accept": "text/event-stream"}


@pytest.mark.parametrize(
    ("more", "headers", "streams"),
    [
        ({"stream": True}, {}, True),
        ({}, STREAM, True),
        ({"stream": False}, STREAM, False),
        ({}, {}, False),
    ],
)
def test_the_body_chooses_the_stream_and_else_accept(kim, more, headers, streams):
    answer = kim.post("/chat", json=HELLO | more, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream") is streams


def test_a_stream_is_in_the_seeds_form(kim, stack):
    stack.stub.script("default", Reply(("Good ", "morning"), rate=50))
    answer = kim.post("/chat", json=HELLO | {"stream": True})
    blocks = answer.text.split("\n\n")
    assert blocks[0] == ": keepalive"
    assert blocks[-2:] == ['event: done\ndata: {"finished": true}', ""]
    told = [json.loads(block.removeprefix("data: ")) for block in blocks[1:-2] if block[0] != ":"]
    assert [set(one) for one in told] == [{"token"}] * len(told)
    assert "".join(one["token"] for one in told) == "Good morning"
    assert answer.headers["x-session-id"].startswith("sess_")


def test_a_stream_of_objects_is_asked_for_in_the_body(kim, team):
    answer = kim.post("/chat", json=HELLO | {"stream": True, "stream_format": "object"})
    blocks = [block for block in answer.text.split("\n\n") if block.startswith("data: ")]
    events = [json.loads(block.removeprefix("data: "))["token"] for block in blocks]
    assert [event["type"] for event in events][:2] == ["progress", "progress"]
    assert "".join(e["content"] for e in events if e["type"] == "content") == events[-1]["content"]
    last = events[-1]
    assert (last["type"], last["status"]) == ("completed", "success")
    assert last["agent_used"] == events[1]["agent_name"]
    assert {event["user_id"] for event in events} == {"kim"}


def test_a_silent_stream_lives_and_ends_its_turn_with_its_client(kim, stack, monkeypatch):
    monkeypatch.setattr("apps.conversations.api.muxi_formation_chat.SILENCE", 0.02)
    stack.stub.script("default", Reply(hang=True))
    with kim.stream("POST", "/chat", json=HELLO | {"stream": True}) as answer:
        heard = answer.iter_lines()
        beats = [line for line, _ in zip(heard, range(6), strict=False) if line]
    assert beats == [": keepalive"] * 3
    wait_until(lambda: Run.unscoped.filter(status="cancelled").exists())
    assert stack.stub.requests[-1].wait_disconnected()


def test_a_failure_in_a_stream_is_an_event(kim, stack):
    stack.stub.script("default", Reply(status=400, error="no such thing"))
    answer = kim.post("/chat", json=HELLO | {"stream": True})
    last = answer.text.strip().split("\n\n")[-1]
    assert (answer.status_code, last.split("\n")[0]) == (200, "event: error")
    assert json.loads(last.split("data: ")[1])["type"] == "INVALID_REQUEST"
    assert "event: done" not in answer.text


def test_a_failure_before_a_stream_has_its_status_and_the_same_event(kim):
    answer = kim.post("/chat", json=HELLO | {"agent_id": "nobody", "stream": True})
    assert answer.status_code == 404
    assert answer.text.startswith("event: error\ndata: ")
    assert json.loads(answer.text.split("data: ")[1])["type"] == "AGENT_NOT_FOUND"


def test_an_agent_is_named_or_stays_with_its_conversation(kim, stack, team):
    create_agent(team.home_owner, name="poet", system_prompt="You rhyme.")
    create_agent(team.home_owner, name="clerk", system_prompt="You count.")
    refused = kim.post("/chat", json=HELLO | {"agent_id": "nobody"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "AGENT_NOT_FOUND")
    told = kim.post("/chat", json=HELLO | {"agent_id": "Poet", "session_id": "s"}).json()["data"]
    assert told["message"]["metadata"]["agent_id"] == "poet"
    kim.post("/chat", json={"message": "More", "session_id": "s"})
    assert "You rhyme." in stack.stub.requests[-1].body["messages"][0]["content"]
    assert len(stack.stub.requests) == 2


@pytest.mark.parametrize(
    ("body", "item"),
    [
        ({}, {"field": "message", "type": "string", "error": "missing"}),
        ({"message": 5}, {"field": "message", "type": "string", "error": "wrong_type"}),
        ({"message": "x" * 100_001}, {"field": "message", "type": "string", "error": "too_long"}),
        ({"message": " "}, {"field": "message", "type": "string", "error": "too_short"}),
        (HELLO | {"stream": "yes"}, {"field": "stream", "type": "boolean", "error": "wrong_type"}),
        (HELLO | {"files": 1}, {"field": "files", "type": "array", "error": "wrong_type"}),
        (
            HELLO | {"files": [{"content": "?"}]},
            {"field": "files.0.content", "type": "string", "error": "invalid_format"},
        ),
        (b"{", {"field": "body", "type": "object", "error": "invalid_json"}),
    ],
)
def test_a_bad_body_is_told_field_by_field(kim, stack, body, item):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = kim.post("/chat", content=raw)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    (found,) = error["data"]["validation_errors"]
    assert {name: found[name] for name in item} == item
    assert not stack.stub.requests
    assert not Session.unscoped.exists()


def test_files_are_kept_and_read_by_the_model(kim, stack):
    notes = {
        "filename": "notes.txt",
        "content": _b64(b"Milk and bread"),
        "content_type": "text/plain",
    }
    image = {"filename": "a.png", "content": _b64(b"png"), "content_type": "image/png"}
    answer = kim.post("/chat", json=HELLO | {"files": [notes, image], "session_id": "f"})
    assert answer.status_code == 200, answer.text
    parts = stack.stub.requests[-1].body["messages"][-1]["content"]
    assert parts[0]["text"] == "Hello\n\n[File notes.txt]\nMilk and bread"
    assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{_b64(b'png')}"
    kim.post("/chat", json={"message": "Again", "session_id": "f"})
    assert stack.stub.requests[-1].body["messages"][1]["content"] == parts
    assert sorted(Attachment.unscoped.values_list("name", flat=True)) == ["a.png", "notes.txt"]


def test_a_large_body_is_taken_with_a_key_only(kim, stack, settings):
    settings.MAX_BODY_BYTES = 10_000
    big = {"filename": "b.bin", "content": _b64(b"x" * 20_000), "content_type": "application/zip"}
    body = HELLO | {"files": [big]}
    assert kim.post("/chat", json=body).status_code == 200
    stranger = httpx.post(str(kim.base_url) + "chat", json=body)
    assert stranger.status_code == 401
    assert stranger.json()["error"]["code"] == "UNAUTHORIZED"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_request_id_is_used_once_by_each_user(kim, stack, team):
    assert kim.post("/chat", json=HELLO | {"request_id": "r1"}).status_code == 200
    again = kim.post("/chat", json=HELLO | {"request_id": "r1"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "DUPLICATE_RESOURCE")
    with as_user(stack, team, "lee") as lee:
        assert lee.post("/chat", json=HELLO | {"request_id": "r1"}).status_code == 200
    assert Message.unscoped.count() == 4  # nothing of the refused one


def test_a_conversation_has_one_turn_at_a_time(kim, stack):
    stack.stub.script("default", Reply(hang=True))
    with kim.stream("POST", "/chat", json=HELLO | {"stream": True, "session_id": "s"}):
        wait_until(lambda: stack.stub.requests)
        refused = kim.post("/chat", json=HELLO | {"session_id": "s"})
        later = kim.post("/chat", json=HELLO | {"session_id": "s", "mode": "async"})
    assert (refused.status_code, later.status_code) == (409, 409)
    assert refused.json()["error"]["message"] == later.json()["error"]["message"]


def test_a_turn_that_takes_longer_than_its_threshold_goes_on_alone(kim, stack):
    stack.stub.queue(Reply(("Late",), delay=0.3))
    answer = kim.post("/chat", json=HELLO | {"threshold_seconds": 0.01})
    assert (answer.status_code, answer.json()["type"]) == (202, "chat.async_accepted")
    path = answer.json()["data"]["poll_url"].removeprefix("/v1")
    told = wait_until(
        lambda: (found := kim.get(path).json()["data"])["status"] == "completed" and found
    )
    assert told["result"]["content"] == "Late"


def test_a_cancelled_request_says_so_to_who_waits_for_it(kim, stack):
    stack.stub.script("default", Reply(hang=True))
    answers = []
    body = HELLO | {"request_id": "long"}
    waiting = threading.Thread(target=lambda: answers.append(kim.post("/chat", json=body)))
    waiting.start()
    wait_until(lambda: stack.stub.requests)
    assert kim.delete("/requests/long").status_code == 200
    waiting.join(20)
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (499, "CANCELLED")


KEY = {"X-Muxi-Idempotency-Key": "k1"}


def test_a_key_answers_once(kim, stack):
    first = kim.post("/chat", json=HELLO, headers=KEY)
    again = kim.post("/chat", json={"message": "Something else"}, headers=KEY)
    assert again.content == first.content
    assert first.json()["request"]["idempotency_key"] == "k1"
    assert len(stack.stub.requests) == 1
    assert kim.post("/chat", json=HELLO, headers=KEY | {"X-Muxi-User-ID": "lee"}).status_code == 200
    assert len(stack.stub.requests) == 2


def test_a_failed_request_frees_its_key(kim, stack):
    stack.stub.queue(Reply(status=400, error="no"))
    assert kim.post("/chat", json=HELLO, headers=KEY).status_code == 400
    assert kim.post("/chat", json=HELLO, headers=KEY).status_code == 200


def test_two_at_once_with_one_key_are_one_flight(kim, stack, monkeypatch):
    monkeypatch.setattr("apps.conversations.muxi.turns.LOOK_EVERY", 0.01)
    stack.stub.queue(Reply(("One",), delay=0.1))
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(kim.post("/chat", json=HELLO, headers=KEY).content)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(answers)) == 1
    assert len(answers) == 3
    assert len(stack.stub.requests) == 1


def admitted(team, user="kim", **body):
    """As the route admits it, in this thread."""
    content = {"message": "Hello"} | body
    headers = {name.lower(): value for name, value in team.headers(user=user).items()}
    seen = Credentials(
        headers, {}, {}, "POST", "/v1/chat", "/v1/chat", "", "req_a", formation=team.ref
    )
    return admit_chat(seen, json.dumps(content).encode())


def test_a_turn_costs_few_queries(team, stack, count_queries):
    create_agent(team.home_owner, name="helper")
    admitted(team)  # what is remembered: the crew, the prompt's context, the document
    with count_queries(4):  # the key with its home, the formation; who it is, what they told it
        admitted(team)
    turn = admitted(team, session_id="s").turn
    journal = InlineJournal(turn, live_run(turn))
    with count_queries(
        7
    ):  # room, two; budgets, all rows at once, their facts; between begin and commit
        journal._open(Spend(100))
    with count_queries(6):  # and for a known conversation: it, and what was said
        admitted(team, session_id="s")


def test_a_formation_with_all_its_turns_under_way_refuses_the_next(stack, aurora):
    one = document_of(config={**MANY_USERS, "id": "busy", "limits": {"max_concurrent_turns": 1}})
    busy = make_formation(aurora.ada, "busy", document=one)
    stack.stub.script("default", Reply(("slow ", "reply"), rate=1))
    with as_user(stack, busy, "kim") as kim, as_user(stack, busy, "lee") as lee:
        first = kim.post("/chat", json=HELLO | {"mode": "async"})
        assert first.status_code == 202, first.text
        refused = lee.post("/chat", json=HELLO)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == "1"
        assert not Session.unscoped.filter(end_user="lee").exists()
        kim.delete(f"/requests/{first.json()['data']['request_id']}")
        wait_until(lambda: lee.post("/chat", json=HELLO).status_code == 200)
