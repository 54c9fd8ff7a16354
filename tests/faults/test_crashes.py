"""kill -9 in the middle of a turn: it resumes after its last step, or says that it was interrupted."""

from __future__ import annotations

import json
import threading
import time

import httpx

from tests.support.stack import wait_until
from tests.support.stub_provider import Reply


def is_final(frame):
    said = frame["payload"]
    return frame["type"] == "message" and said["role"] == "assistant" and not said["is_partial"]


def test_a_turn_survives_the_death_of_its_server(serve, talk_to, stub):
    stub.script(
        "default",
        Reply("Looking. ", calls=(("now", {}),)),
        Reply(("slow ",) * 400, rate=20),
        Reply("All done.", delay=6),  # late enough for a client to be there
    )
    first = serve()
    talk = talk_to(first)
    session = talk.new_session()
    talk.http.post(f"/sessions/{session['id']}/messages", json={"content": "Work"})
    stub.wait_requests(2, 20)  # the tool's result is journaled; the second reply streams
    time.sleep(0.5)
    first.kill()

    second = serve()
    again = talk_to(second, talk.token)
    frames = again.listen(session, until=is_final)
    assert frames[0]["type"] == "session_state"
    assert frames[0]["payload"]["is_running"] is True
    assert frames[-1]["payload"]["content"].endswith("All done.")
    kept = again.messages(session)
    assert [m["role"] for m in kept] == ["user", "assistant"]
    assert "Looking." in kept[1]["content"]
    # The journaled steps were not made again: three model calls in all, one tool call.
    sent = [request.body["messages"] for request in stub.requests]
    assert len(sent) == 3
    assert [m["role"] for m in sent[2]].count("tool") == 1
    assert second.stop() == 0


def test_a_completion_whose_server_died_is_marked_interrupted(serve, talk_to, stub):
    stub.script("default", Reply(("word ",) * 400, rate=20))
    first = serve()
    talk = talk_to(first)
    said = {"messages": [{"role": "user", "content": "Hello"}]}
    body = {"model": "default", "stream": True, **said}

    def stream() -> None:
        try:
            with talk.http.stream("POST", "/v1/chat/completions", json=body) as answer:
                for _ in answer.iter_bytes():
                    pass
        except httpx.TransportError:
            return

    thread = threading.Thread(target=stream)
    thread.start()
    stub.wait_requests(1, 20)
    time.sleep(0.5)
    first.kill()
    thread.join(10)

    again = talk_to(serve(), talk.token)
    workspace = again.http.get("/workspaces").json()["data"][0]["id"]
    sessions = f"/sessions?workspace_id={workspace}"
    ended = wait_until(
        lambda: [s for s in again.http.get(sessions).json()["data"] if s["status"] == "ended"], 30
    )
    assert len(ended) == 1
    assert len(stub.requests) == 1  # nobody listens any more: it is not asked again


def test_a_graceful_stop_lets_a_short_turn_finish(serve, talk_to, stub):
    stub.script("default", Reply(("tick ",) * 20, rate=10))
    server = serve()
    talk = talk_to(server)
    session = talk.new_session()
    talk.http.post(f"/sessions/{session['id']}/messages", json={"content": "Go"})
    stub.wait_requests(1, 20)
    assert server.stop() == 0

    again = talk_to(serve(), talk.token)
    kept = again.messages(session)
    assert kept[-1]["content"] == "tick " * 20
    assert len(stub.requests) == 1


def test_a_graceful_stop_hands_a_long_turn_to_the_next_server(serve, talk_to, stub):
    stub.script("default", Reply(("tock ",) * 1000, rate=10), Reply("Resumed.", delay=6))
    server = serve()
    talk = talk_to(server)
    session = talk.new_session()
    talk.http.post(f"/sessions/{session['id']}/messages", json={"content": "Go"})
    stub.wait_requests(1, 20)
    assert server.stop(seconds=40) == 0

    again = talk_to(serve(), talk.token)
    frames = again.listen(session, until=is_final)
    assert json.dumps(frames[-1]).count("Resumed.") == 1
