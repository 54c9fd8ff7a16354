"""kill -9 in the middle of a task: the attempt goes on after its last step, and is not begun anew."""

from __future__ import annotations

import time

import pytest

from tests.support.stack import wait_until
from tests.support.stub_provider import Reply


@pytest.fixture
def begun(serve, talk_to, stub):
    """A task at work in a server: (server, client, task id); the model's second reply streams."""

    def begin(*replies):
        stub.script("default", *replies)
        server = serve()
        talk = talk_to(server)
        agent = {"name": "worker", "model": "stub:default", "allowedTools": ["now"]}
        answer = talk.http.post("/api/v1/agents", json=agent)
        assert answer.status_code == 201, answer.text
        body = {"title": "Work", "description": "Look at the clock.", "assignTo": "worker"}
        answer = talk.http.post("/api/v1/tasks", json=body)
        assert answer.status_code == 201, answer.text
        stub.wait_requests(2, 20)  # the tool's result is journaled
        time.sleep(0.3)
        return server, talk, answer.json()["data"]["id"]

    return begin


def read(talk, task):
    return talk.http.get(f"/api/v1/tasks/{task}").json()["data"]


def wait_for_end(talk, task):
    return wait_until(
        lambda: (shown := read(talk, task))["status"] in {"done", "failed"} and shown, 30
    )


SLOW = Reply(("slow ",) * 1200, rate=20)


def test_an_attempt_survives_the_death_of_its_server(begun, serve, talk_to, stub):
    server, talk, task = begun(Reply("Looking. ", calls=(("now", {}),)), SLOW, Reply("It is late."))
    server.kill()
    again = talk_to(serve(), talk.token)
    up = time.monotonic()
    stub.wait_requests(3, 20)
    assert time.monotonic() - up < 15  # the lease is 10
    shown = wait_for_end(again, task)
    assert (shown["status"], shown["retries"]) == ("done", 0)
    assert shown["result"]["stdout"] == "It is late."
    # The journaled steps were not made again: three model calls in all, one tool call.
    sent = [request.body["messages"] for request in stub.requests]
    assert len(sent) == 3
    assert [message["role"] for message in sent[2]].count("tool") == 1


def test_a_stopping_server_does_not_wait_for_a_long_attempt(begun, serve, talk_to, stub):
    server, talk, task = begun(Reply("Looking. ", calls=(("now", {}),)), SLOW, Reply("It is late."))
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30  # the rest of the reply would take a minute
    again = talk_to(serve(), talk.token)
    shown = wait_for_end(again, task)
    assert (shown["status"], shown["retries"], len(stub.requests)) == ("done", 0, 3)
