"""What a formation's user told it reaches their turns, and what was cleared does not."""

from __future__ import annotations

import pytest

from tests.live.conftest import as_user

pytestmark = pytest.mark.django_db(transaction=True)


def read(stack):
    """(the system message, what was said) as the model was asked last."""
    system, *said = stack.stub.requests[-1].body["messages"]
    return system["content"], [message["content"] for message in said]


def test_a_memory_is_in_its_users_prompts_and_in_nobody_elses(kim, stack, team):
    kim.post("/memories", json={"content": "likes tea"})
    kim.post("/memories", json={"content": "closed in August", "scope": "formation"})
    kim.post("/chat", json={"message": "Hello"})
    assert "- general: likes tea\n- general: closed in August" in read(stack)[0]
    with as_user(stack, team, "lee") as lee:
        lee.post("/chat", json={"message": "Hello"})
    assert "likes tea" not in read(stack)[0]
    assert "closed in August" in read(stack)[0]


def test_a_turn_after_clearing_reads_only_itself(kim, stack):
    talk = {"message": "My name is Kim", "session_id": "t"}
    kim.post("/chat", json=talk)
    kim.post("/chat", json=talk | {"message": "And now?"})
    assert read(stack)[1] == ["My name is Kim", "Hello from the stub.", "And now?"]
    assert kim.delete("/memory/buffer/t").json()["data"]["messages_cleared"] == 4
    kim.post("/chat", json=talk | {"message": "Who am I?"})
    assert read(stack)[1] == ["Who am I?"]
    assert kim.get("/sessions/t/messages").json()["data"]["count"] == 6
