"""What streams: the chat surface and the session's socket, over a real one, against golden files."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from apps.conversations.services import create_session
from apps.core.ids import session_wire_id, uuid7
from apps.runs.jobs import advance_run
from apps.runs.services import ADVANCE
from tests.contract.golden import Matcher, assert_golden, load
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(transactional_db, settings, recording_queue):
    settings.DEFAULT_MODEL = "scripted/echo"
    with serving() as port:
        yield port


@pytest.fixture
def chat(server, aurora):
    base = f"http://127.0.0.1:{server}"
    with httpx.Client(base_url=base, headers=aurora.ada_headers, timeout=30) as client:
        yield client


def question(**more):
    return {
        "model": "aurora",
        "messages": [{"role": "user", "content": "Good morning, Ada."}],
    } | more


def test_a_completion(chat):
    answer = chat.post("/v1/chat/completions", json=question())
    assert_golden(answer, "openai/chat_completion.json")
    usage = answer.json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def chunks(answer):
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_streamed_completion_says_the_same_in_pieces(chat):
    answer = chat.post("/v1/chat/completions", json=question(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = chunks(answer)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in found)
    assert text == "Good morning, Ada."
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in found}) == 1


def test_usage_comes_last_where_it_is_asked_for(chat):
    more = {"stream": True, "stream_options": {"include_usage": True}}
    last = chunks(chat.post("/v1/chat/completions", json=question(**more)))[-1]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


def test_models_are_listed(chat):
    assert_golden(chat.get("/v1/models"), "openai/models.json")


def test_a_wrong_key_is_told(chat):
    answer = chat.post(
        "/v1/chat/completions", json=question(), headers={"Authorization": "Bearer nobody"}
    )
    assert_golden(answer, "openai/error_key.json")


def test_an_unknown_model_is_told(chat):
    answer = chat.post("/v1/chat/completions", json=question(model="nobody"))
    assert_golden(answer, "openai/error_model.json")


def test_a_conversation_without_messages_is_told(chat):
    answer = chat.post("/v1/chat/completions", json=question(messages=[]))
    assert_golden(answer, "openai/error_messages.json")


# --- The session's socket ---------------------------------------------------------------------
@pytest.fixture
def session(aurora, server):
    made, token = create_session(aurora.ada)
    return session_wire_id(aurora.id, made.pk), token


def dial(port, session_id, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"ws://127.0.0.1:{port}/session/{session_id}/"
    return connect(address, additional_headers=headers, open_timeout=10)


def test_the_first_frame_is_the_state_of_the_session(server, session, aurora):
    with dial(server, session[0], aurora.ada_token) as socket:
        frame = json.loads(socket.recv(timeout=10))
    golden = load("polymux/ws_session_state.json")["body"]
    golden["payload"]["session"]["websocket_url"] = f"ws://127.0.0.1:{server}/session/<ses:1>/"
    Matcher().match(golden, frame)


def woken(queue):
    """The ids of the run that a worker would have been woken for."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for job, ids in queue:
            if job == ADVANCE:
                return ids
        time.sleep(0.01)
    raise AssertionError(f"no run was queued: {queue}")


def test_a_message_is_answered_over_the_socket(server, session, recording_queue):
    with dial(server, *session) as socket:
        socket.send(json.dumps({"type": "user_message", "payload": {"content": "Hello there"}}))
        advance_run(**woken(recording_queue))
        frames = read_until(socket, said_by_the_assistant)
    assert frames[-1]["payload"]["content"] == "Hello there"
    numbers = [frame["seq"] for frame in frames if frame.get("seq") is not None]
    assert numbers == sorted(numbers)


def said_by_the_assistant(frame):
    payload = frame["payload"]
    return (
        frame["type"] == "message" and payload["role"] == "assistant" and not payload["is_partial"]
    )


def read_until(socket, wanted):
    frames = []
    while not frames or not wanted(frames[-1]):
        frames.append(json.loads(socket.recv(timeout=15)))
    return frames


@pytest.mark.parametrize(
    ("who", "status"), [("", 401), ("nobody", 401), ("mallory", 403), ("mallory_star", 404)]
)
def test_a_stranger_does_not_get_in_nor_learn_whether_it_exists(
    server, session, borealis, aurora, who, status
):
    token = {"mallory": borealis.mallory_token, "mallory_star": borealis.mallory_star_token}
    heard = []
    for session_id in (session[0], session_wire_id(aurora.id, uuid7())):
        with pytest.raises(InvalidStatus) as refused:
            dial(server, session_id, token.get(who, who))
        answer = refused.value.response
        heard.append((answer.status_code, json.loads(answer.body)["code"]))
    assert heard[0] == heard[1]
    assert heard[0][0] == status


def test_a_viewer_may_watch_but_not_act(server, session, aurora):
    with dial(server, session[0], aurora.cleo_token) as socket:
        socket.recv(timeout=10)
        socket.send(json.dumps({"type": "user_message", "payload": {"content": "Hello"}}))
        frame = read_until(socket, lambda frame: frame["type"] == "error")[-1]
    assert frame["payload"]["code"] == "SCOPE_INSUFFICIENT"
