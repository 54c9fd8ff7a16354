"""Completions that wait for a human: what interrupts them, and what they see when they go on."""

from __future__ import annotations

import asyncio

import pytest

from apps.approvals.models import Approval
from apps.approvals.services import decide
from apps.conversations.models import Message, Session
from apps.core import tools
from apps.core.actor import Actor
from apps.formations.services import set_tool
from apps.runs.budgets import set_budget
from apps.runs.models import Run
from apps.runs.services import cancel_run
from tests.live.conftest import attach
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

LOOK = Reply("Let me look.", calls=(("now", {}),))
ASK = Reply("One thing.", calls=(("ask_user", {"question": "Which city?"}),))
WEATHER = {"type": "function", "function": {"name": "weather", "description": "In a city."}}
OWN = [
    {"role": "system", "content": "Answer in rhyme."},
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello, Ada."},
    {"role": "user", "content": "What time is it? \U0001f552"},
]


@pytest.fixture(autouse=True)
def _careful(aurora, stack):
    set_tool(aurora.ada, "now", enabled=True, needs_approval=True)


def complete(client, *said, headers=None, **body):
    messages = [
        {"role": "user", "content": text} if isinstance(text, str) else text for text in said
    ]
    asked = {"model": "polymux", "messages": messages, **body}
    return client.post("/v1/chat/completions", json=asked, headers=headers or {})


def approve(aurora, **decision):
    asked = Approval.unscoped.get(status="pending")
    decide(aurora.ben, asked.pk, decision="approve", **decision)
    wait_until(lambda: not Run.unscoped.exclude(status__in=["succeeded", "failed"]).exists())


def sent(stack, number=-1):
    return [(m["role"], m["content"]) for m in stack.stub.requests[number].body["messages"]]


def runs():
    return list(Run.unscoped.order_by("created_at").values_list("status", flat=True))


# --- Interrupted ----------------------------------------------------------------------------------
def test_a_completion_interrupts_the_turn_that_waits_in_its_session(stack, client):
    stack.stub.script("default", LOOK, Reply("Very well."))
    first = complete(client, "What time is it?", chat_id="mine")
    assert "Waiting for a human" in first.json()["choices"][0]["message"]["content"]
    assert Session.unscoped.get().status == "waiting"
    answer = complete(client, "Never mind.", chat_id="mine")
    assert answer.json()["choices"][0]["message"]["content"] == "Very well."
    assert (runs(), Session.unscoped.get().status) == (["cancelled", "succeeded"], "idle")
    assert Approval.unscoped.get().status == "withdrawn"
    told = list(Message.unscoped.order_by("created_at", "id").values_list("content", "state"))
    assert told[1:] == [
        (LOOK.text, "interrupted"),
        ("Never mind.", "complete"),
        ("Very well.", "complete"),
    ]
    assert sent(stack)[1:] == [
        ("user", "What time is it?"),
        ("assistant", LOOK.text),
        ("user", "Never mind."),
    ]


async def test_who_watches_hears_that_a_completion_took_over(stack, client, session):
    stack.stub.script("default", LOOK, Reply(("tick ",) * 20, rate=20))
    async with attach(session) as socket:
        await socket.say("user_message", content="What time is it?")
        await socket.until("approval_request")
        await asyncio.to_thread(wait_until, lambda: runs() == ["waiting"])
        headers = {"x-session-id": session["id"]}
        going = asyncio.to_thread(complete, client, "Never mind.", headers=headers)
        answer = asyncio.create_task(going)
        await socket.until("approval_decided", status="withdrawn")
        state = await socket.until("session_state", is_running=True)
        await socket.until("message", content="tick " * 20, is_partial=False)
        assert (await answer).status_code == 200
    assert state["payload"]["pending"] == []
    assert state["payload"]["session"]["status"] == "running"


def test_a_completion_that_is_refused_leaves_the_waiting_turn_alone(stack, client, aurora):
    stack.stub.script("default", LOOK)
    complete(client, "What time is it?", chat_id="mine")
    set_budget(aurora.ada, "workspace", aurora.id, tokens=1)
    assert complete(client, "Never mind.", chat_id="mine").status_code == 429
    assert (runs(), Session.unscoped.get().status) == (["waiting"], "waiting")
    assert Approval.unscoped.get().status == "pending"
    assert Message.unscoped.count() == 1


def test_a_turn_that_runs_is_not_interrupted_by_a_completion(stack, client, session):
    stack.stub.script("default", Reply(("slow ",) * 20, rate=20))
    client.post(f"/sessions/{session['id']}/messages", json={"content": "Tell me everything"})
    stack.stub.wait_requests(1)
    answer = complete(client, "And?", headers={"x-session-id": session["id"]})
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "invalid_request_error")
    wait_until(lambda: runs() == ["succeeded"])
    assert Message.unscoped.count() == 2


# --- Gone on with ---------------------------------------------------------------------------------
def test_an_approved_completion_goes_on_with_what_its_request_brought(stack, client, aurora):
    stack.stub.script("default", LOOK, Reply("It is late."))
    complete(client, *OWN, tools=[WEATHER], tool_choice="auto", max_tokens=77)
    assert "inline" not in Run.unscoped.get().input
    approve(aurora)
    before, after = (request.body for request in stack.stub.requests)
    assert after["messages"][: len(before["messages"])] == before["messages"]
    roles = [message["role"] for message in after["messages"]]
    assert roles == ["system", "system", "user", "assistant", "user", "assistant", "tool"]
    assert after["max_tokens"] == 77
    assert Run.unscoped.get().input == {}
    assert Message.unscoped.get(role="assistant").content == "Let me look.\n\nIt is late."


def test_it_goes_on_with_the_transcript_it_was_put_after(stack, client, aurora):
    stack.stub.script("default", Reply("Hello, Ada."), LOOK, Reply("It is late."))
    complete(client, "My name is Ada.", chat_id="mine")
    rhyme = {"role": "system", "content": "Answer in rhyme."}
    complete(client, rhyme, "What time is it?", chat_id="mine")
    approve(aurora)
    before = sent(stack, 1)
    assert before[1:] == [
        ("system", "Answer in rhyme."),
        ("user", "My name is Ada."),
        ("assistant", "Hello, Ada."),
        ("user", "What time is it?"),
    ]
    assert sent(stack, 2)[: len(before)] == before


def test_the_callers_tools_are_not_offered_when_the_caller_has_gone(stack, client, aurora):
    """Nor is a call meant for the caller's `ask_user` made with ours."""
    theirs = {"type": "function", "function": {"name": "ask_user"}}
    call = Reply(calls=(("now", {}), ("ask_user", {"question": "Where?"})))
    stack.stub.script("default", call, Reply("I cannot know."))
    complete(client, "Time and place?", tools=[theirs], tool_choice="required")
    approve(aurora)
    before, after = (request.body for request in stack.stub.requests)
    offered = [{tool["function"]["name"] for tool in body["tools"]} for body in (before, after)]
    # What ends a turn to hand something to the caller needs one, too.
    handed = {tool.name for tool in tools.registered() if tool.hand_over and tool.hand_over.only}
    assert offered[0] - offered[1] == {"ask_user", *handed}
    assert "tool_choice" not in after
    assert "no tool called 'ask_user'" in after["messages"][-1]["content"]
    assert (runs(), Message.unscoped.last().content) == (["succeeded"], "I cannot know.")


def test_what_no_json_column_holds_is_gone_on_with_too(stack, client, aurora):
    """NUL and half a surrogate may stand in the arguments of a call the caller tells of."""
    call = {"name": "weather", "arguments": '{"city": "\\u0000\\ud800"}'}
    past = {
        "role": "assistant",
        "tool_calls": [{"id": "c\x00", "type": "function", "function": call}],
    }
    result = {"role": "tool", "tool_call_id": "c\x00", "content": "snow"}
    stack.stub.script("default", LOOK, Reply("Late."))
    assert complete(client, "Weather?", past, result, "And the time?").status_code == 200
    approve(aurora)
    before, after = (request.body["messages"] for request in stack.stub.requests)
    assert after[: len(before)] == before


def test_a_turn_cancelled_while_it_waits_forgets_its_request(stack, client, aurora):
    stack.stub.script("default", LOOK)
    complete(client, *OWN)
    assert "in rhyme" in Run.unscoped.get().input["request"]["body"]
    cancel_run(Actor.for_engine(aurora.id), Run.unscoped.get().pk)
    assert Run.unscoped.get().input == {}
