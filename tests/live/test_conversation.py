"""A conversation over real sockets: REST, WebSocket, worker, provider and database all real."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from websockets.exceptions import InvalidStatus

from apps.conversations.models import Message, Session
from apps.runs.models import Run
from tests.live.conftest import attach
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_first_frame_is_the_snapshot(session):
    async with attach(session) as socket:
        first = await socket.next()
    assert first["type"] == "session_state"
    state = first["payload"]
    assert state["session"]["id"] == session["id"] == first["session_id"]
    assert state["session"]["websocket_url"] == session["websocket_url"]
    assert (state["is_running"], state["active_run"], state["pending"]) == (False, None, [])


async def test_a_message_is_answered_live_and_kept(stack, client, session):
    stack.stub.script("default", Reply(("Good ", "morning", "!"), rate=50))
    async with attach(session) as socket:
        await socket.say("user_message", content="Hello")
        asked = await socket.until("message", role="user")
        final = await socket.until("message", role="assistant", is_partial=False)
        await socket.until("session_state", is_running=False)
    assert asked["payload"]["content"] == "Hello"
    assert socket.heard == final["payload"]["content"] == "Good morning!"
    partial = next(f["payload"] for f in socket.frames if f["payload"].get("is_partial"))
    assert partial["message_id"] == final["payload"]["message_id"]
    numbers = [frame["seq"] for frame in socket.frames if "seq" in frame]
    assert numbers == sorted(set(numbers))
    kept = client.get(f"/sessions/{session['id']}/messages").json()["data"]
    assert [(m["role"], m["content"]) for m in kept] == [
        ("user", "Hello"),
        ("assistant", "Good morning!"),
    ]


def test_a_message_by_rest_is_answered_too(client, session):
    posted = client.post(f"/sessions/{session['id']}/messages", json={"content": "Hi"})
    assert posted.status_code == 202
    wait_until(lambda: client.get(f"/sessions/{session['id']}").json()["status"] == "idle")
    kept = client.get(f"/sessions/{session['id']}/messages").json()["data"]
    assert [m["role"] for m in kept] == ["user", "assistant"]


def test_the_second_turn_remembers_the_first(stack, client, session):
    for text in ("My name is Ada", "What is my name?"):
        client.post(f"/sessions/{session['id']}/messages", json={"content": text})
        wait_until(lambda: client.get(f"/sessions/{session['id']}").json()["status"] == "idle")
    sent = stack.stub.requests[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    assert "My name is Ada" in str(sent[1]["content"])


def test_the_same_message_id_twice_is_one_message(client, session):
    body = {"content": "Once", "message_id": str(uuid.uuid4())}
    first, second = (
        client.post(f"/sessions/{session['id']}/messages", json=body).json() for _ in range(2)
    )
    assert first == second
    assert first["id"] == body["message_id"]
    # Its turn may not be claimed yet, and must not begin in the next test's empty database.
    wait_until(lambda: Run.unscoped.filter(status="succeeded").exists())


async def test_every_client_hears_everything(session):
    async with attach(session) as one, attach(session) as two:
        await one.next()
        await two.next()
        await one.say("user_message", content="Hello")
        finals = [
            await socket.until("message", role="assistant", is_partial=False)
            for socket in (one, two)
        ]
    assert finals[0]["payload"] == finals[1]["payload"]
    assert finals[0]["id"] == finals[1]["id"]


async def test_a_message_during_a_turn_interrupts_it(stack, session):
    stack.stub.script("default", Reply(("slow ",) * 500, rate=20), Reply("At once."))
    async with attach(session) as socket:
        await socket.say("user_message", content="Tell me everything")
        await socket.until("message", is_partial=True)
        await socket.say("user_message", content="Stop, something else")
        cut = await socket.until("message", role="assistant", is_partial=False)
        answer = await socket.until("message", role="assistant", is_partial=False)
    assert cut["payload"]["state"] == "interrupted"
    assert cut["payload"]["content"].startswith("slow")
    assert answer["payload"]["content"] == "At once."


async def test_the_id_of_what_is_being_said_names_no_other_message(stack, client, session):
    stack.stub.script("default", Reply(("word ",) * 20, rate=20))
    async with attach(session) as socket:
        await socket.say("user_message", content="Go on")
        partial = await socket.until("message", is_partial=True)
        body = {"content": "And?", "message_id": partial["payload"]["message_id"]}
        await socket.say("user_message", **body)
        refused = await socket.until("error")
        where = f"/sessions/{session['id']}/messages"
        answer = await asyncio.to_thread(client.post, where, json=body)
        final = await socket.until("message", role="assistant", is_partial=False)
    assert refused["payload"]["code"] == "MESSAGE_ID_TAKEN"
    assert (answer.status_code, answer.json()["code"]) == (409, "message_id_taken")
    assert final["payload"]["content"] == "word " * 20


async def test_stop_keeps_what_was_said(stack, session):
    stack.stub.script("default", Reply(("word ",) * 500, rate=50))
    async with attach(session) as socket:
        await socket.say("user_message", content="Go on")
        await socket.until("message", is_partial=True)
        await socket.say("stop_agent", agent_id="orchestrator")
        cut = await socket.until("message", role="assistant", is_partial=False)
        await socket.until("session_state", is_running=False)
    assert cut["payload"]["state"] == "interrupted"
    assert stack.stub.requests[-1].wait_disconnected(5)
    run = await asyncio.to_thread(Run.unscoped.get)
    assert run.status == "cancelled"


async def test_stop_is_quick_while_the_provider_hangs(stack, session):
    stack.stub.script("default", Reply(hang=True))
    async with attach(session) as socket:
        await socket.say("user_message", content="Hello?")
        await asyncio.to_thread(stack.stub.wait_requests, 1)
        await socket.say("stop_agent")
        frame = await asyncio.wait_for(socket.until("session_state", is_running=False), 3)
    assert frame["payload"]["session"]["status"] == "idle"


async def test_a_client_that_comes_back_inside_a_turn_misses_no_token(stack, session):
    stack.stub.script("default", Reply(tuple(f"{n} " for n in range(60)), rate=40))
    async with attach(session) as socket:
        await socket.say("user_message", content="Count")
        while socket.heard.count(" ") < 10:
            await socket.until("message", is_partial=True)
        since = socket.frames[-1]["seq"]
    await asyncio.sleep(0.3)
    async with attach(session, query=f"?since={since}") as again:
        final = await again.until("message", role="assistant", is_partial=False)
    assert again.frames[0]["type"] == "session_state"
    assert again.frames[0]["payload"]["active_run"]["status"] == "running"
    assert socket.heard + again.heard == final["payload"]["content"]


async def test_a_newcomer_hears_what_is_being_said_from_its_beginning(stack, session):
    stack.stub.script("default", Reply(tuple(f"{n} " for n in range(40)), rate=40))
    async with attach(session) as first:
        await first.say("user_message", content="Count")
        while first.heard.count(" ") < 10:
            await first.until("message", is_partial=True)
        async with attach(session) as late:
            final = await late.until("message", role="assistant", is_partial=False)
    assert late.heard == final["payload"]["content"]


async def test_tools_are_told_as_they_happen(stack, session):
    stack.stub.script("default", Reply("Let me look.", calls=(("now", {}),)), Reply("It is late."))
    async with attach(session) as socket:
        await socket.say("user_message", content="What time is it?")
        call = await socket.until("tool_call")
        result = await socket.until("tool_result")
        final = await socket.until("message", role="assistant", is_partial=False)
    assert call["payload"]["name"] == result["payload"]["name"] == "now"
    assert call["payload"]["call_id"] == result["payload"]["call_id"]
    assert result["payload"]["status"] == "ok"
    assert final["payload"]["content"] == "Let me look.\n\nIt is late."


async def test_what_a_browser_shows_is_told_as_a_viewport(aurora, session):
    async with attach(session) as socket:
        await socket.next()
        await asyncio.to_thread(navigate, aurora, session["id"])
        frame = await socket.until("viewport")
    assert frame["payload"] == {
        "agent_id": "browser-1",
        "event": "navigated",
        "url": "https://example.org",
    }


def navigate(aurora, session_id):
    from django.db import connection, transaction

    from apps.conversations.events import ViewportChanged
    from apps.core.ids import parse_session_id
    from apps.events.services import publish

    fact = ViewportChanged(
        session_id=parse_session_id(session_id)[1],
        agent_id="browser-1",
        event="navigated",
        url="https://example.org",
    )
    with transaction.atomic():
        publish(aurora.ada, fact)
    connection.close()


async def test_the_agent_asks_and_an_ordinary_message_answers(stack, client, session):
    ask = ("ask_user", {"question": "Which city?"})
    stack.stub.script("default", Reply(calls=(ask,)), Reply("Then Oslo it is."))
    async with attach(session) as socket:
        await socket.say("user_message", content="Book it")
        asked = await socket.until("approval_request")
        await socket.until("session_state")
        waiting = await asyncio.to_thread(client.get, f"/sessions/{session['id']}")
        assert waiting.json()["status"] == "waiting"
        await socket.say("user_message", content="Oslo")
        final = await socket.until("message", role="assistant", is_partial=False)
    assert asked["payload"]["reason"] == "question"
    assert final["payload"]["content"] == "Then Oslo it is."
    assert "Oslo" in str(stack.stub.requests[-1].body["messages"][-1])


async def test_a_pending_question_is_told_again_on_reconnect(stack, session):
    ask = ("ask_user", {"question": "Which city?"})
    stack.stub.script("default", Reply(calls=(ask,)), Reply("Fine."))
    async with attach(session) as socket:
        await socket.say("user_message", content="Book it")
        asked = await socket.until("approval_request")
    async with attach(session) as again:
        repeated = await again.until("approval_request")
        assert repeated["payload"]["msg_id"] == asked["payload"]["msg_id"]
        await again.say(
            "approval_provided", msg_id=repeated["payload"]["msg_id"], approved=True, answer="Oslo"
        )
        final = await again.until("message", role="assistant", is_partial=False)
    assert final["payload"]["content"] == "Fine."


async def test_a_spent_budget_pauses_and_asks_and_goes_on_when_allowed(stack, client, aurora):
    made = client.post("/sessions", json={"token_budget": 60_000}).json()
    big = Reply("Enough.", usage={"prompt_tokens": 30_000, "completion_tokens": 25_000})
    stack.stub.script("default", big)
    async with attach(made, token=aurora.ben_token) as socket:
        await socket.say("user_message", content="One")
        await socket.until("message", role="assistant", is_partial=False)
        await socket.say("user_message", content="Two")
        asked = await socket.until("approval_request", reason="budget_exceeded")
        paused = await asyncio.to_thread(client.get, f"/sessions/{made['id']}")
        assert paused.json()["status"] == "paused"
        await socket.say(
            "approval_provided",
            msg_id=asked["payload"]["msg_id"],
            approved=True,
            extra_tokens=200_000,
        )
        final = await socket.until("message", role="assistant", is_partial=False)
    assert asked["payload"]["token_budget"] == 60_000
    assert final["payload"]["content"] == "Enough."


async def test_a_budget_below_one_call_asks_too_and_a_session_token_may_not_allow_it(client):
    made = client.post("/sessions", json={"token_budget": 10}).json()
    async with attach(made) as socket:
        await socket.say("user_message", content="One")
        asked = await socket.until("approval_request", reason="budget_exceeded")
        await socket.say("approval_provided", msg_id=asked["payload"]["msg_id"], approved=True)
        refused = await socket.until("error")
    assert refused["payload"]["code"] == "FORBIDDEN"


def test_a_workspace_says_what_a_new_session_may_spend(client, aurora):
    from apps.runs.models import Budget
    from apps.workspaces.services import update_settings

    update_settings(aurora.ada, {"token_budget": 5000, "cost_budget_cents": 20})
    assert client.post("/sessions", json={}).json()["token_budget"] == 5000
    budget = Budget.unscoped.get()
    assert (budget.limit_tokens, budget.limit_cost_micros) == (5000, 200_000)
    assert client.post("/sessions", json={"token_budget": 70}).json()["token_budget"] == 70


async def test_pausing_stops_the_agent_and_resuming_answers_what_waited(stack, client, session):
    async with attach(session) as socket:
        await socket.say("pause")
        await socket.until("session_state")
        await socket.say("user_message", content="While paused")
        await socket.until("message", role="user")
        await asyncio.sleep(0.2)
        assert len(stack.stub.requests) == 0
        await socket.say("resume")
        final = await socket.until("message", role="assistant", is_partial=False)
    assert final["payload"]["content"] == "Hello from the stub."


async def test_ending_closes_the_socket_and_kills_the_session_token(stack, client, session):
    async with attach(session) as socket:
        await socket.next()
        ended = await asyncio.to_thread(client.post, f"/sessions/{session['id']}/end")
        assert ended.json()["end_reason"] == "stopped"
        assert (await socket.until("session_ended"))["payload"] == {"end_reason": "stopped"}
        assert await socket.closed_with() == 4410
    bearer = {"Authorization": f"Bearer {session['session_token']}"}
    answer = client.get(f"/sessions/{session['id']}", headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    again = client.post(f"/sessions/{session['id']}/messages", json={"content": "Still there?"})
    assert (again.status_code, again.json()["code"]) == (410, "session_ended")


async def test_a_revoked_token_is_cut_off_in_mid_stream(stack, client, aurora, session):
    stack.stub.script("default", Reply(("word ",) * 500, rate=50))
    async with attach(session, token=aurora.ben_token) as socket:
        await socket.say("user_message", content="Go on")
        await socket.until("message", is_partial=True)
        await asyncio.to_thread(revoke, aurora)
        assert await socket.closed_with() == 4401
    answer = client.get(f"/sessions/{session['id']}", headers=aurora.ben_headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")


def revoke(aurora):
    from django.db import connection

    from apps.workspaces.services import revoke_key

    revoke_key(aurora.ada, aurora.ben_token_id, reason="lost laptop")
    connection.close()


async def test_a_viewer_watches_but_may_not_speak(aurora, session):
    async with attach(session, token=aurora.cleo_token) as socket:
        await socket.next()
        await socket.say("user_message", content="Let me in")
        refusal = await socket.until("error")
    assert refusal["payload"]["code"] == "SCOPE_INSUFFICIENT"


async def test_a_stranger_and_nobody_are_refused_before_the_handshake(aurora, borealis, session):
    for token, status in ((borealis.mallory_token, 403), ("pmx_nobody", 401)):
        with pytest.raises(InvalidStatus) as refused:
            async with attach(session, token=token):
                pass
        assert refused.value.response.status_code == status
    with pytest.raises(InvalidStatus) as refused:
        async with attach(session, token=borealis.mallory_star_token):
            pass
    assert refused.value.response.status_code == 404


async def test_a_session_token_opens_no_other_session(client, session):
    other = client.post("/sessions", json={}).json()
    with pytest.raises(InvalidStatus) as refused:
        async with attach(other, token=session["session_token"]):
            pass
    assert refused.value.response.status_code == 403


async def test_bad_frames_are_named_and_ten_of_them_close(session):
    async with attach(session) as socket:
        await socket.next()
        await socket.say("no_such_frame")
        assert (await socket.until("error"))["payload"]["code"] == "BAD_FRAME"
        await socket.say("user_message", content="")
        refused = await socket.until("error")
        assert refused["payload"]["code"] == "INVALID_REQUEST"
        for _ in range(10):
            await socket.socket.send("{")
        assert await socket.closed_with() == 4400


async def test_the_dashboard_dialect_speaks_its_own_names(session):
    async with attach(session, query="?dialect=dashboard") as socket:
        await socket.say("user_message", content="Hello")
        partial = await socket.until("agent_message", is_partial=True)
        final = await socket.until("agent_message", is_partial=False)
    assert partial["payload"]["content"] == "Hello from the stub."
    assert final["payload"]["content"] == ""
    assert final["payload"]["message_id"]


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("status-401", "PROVIDER_AUTH"),
        ("status-500", "UPSTREAM_ERROR"),
        ("broken", "UPSTREAM_BROKEN"),
        ("die", "UPSTREAM_BROKEN"),
        ("html", "UPSTREAM_BROKEN"),
    ],
)
async def test_a_failing_provider_is_told_in_words_and_the_session_lives_on(
    stack, session, settings, monkeypatch, model, code
):
    settings.DEFAULT_MODEL = f"stub/{model}"
    monkeypatch.setattr("apps.engine.replies.FIRST_PAUSE", 0.01)
    async with attach(session) as socket:
        await socket.say("user_message", content="Hello")
        failure = await socket.until("error")
        settings.DEFAULT_MODEL = "stub/default"
        await socket.say("user_message", content="Again")
        final = await socket.until(
            "message", role="assistant", is_partial=False, agent_id="orchestrator"
        )
        while final["payload"].get("state"):
            final = await socket.until("message", role="assistant", is_partial=False)
    assert failure["payload"]["code"] == code
    assert failure["payload"]["recoverable"] is True
    assert final["payload"]["content"] == "Hello from the stub."


def test_what_a_dying_provider_had_said_is_kept(stack, client, session, settings):
    settings.DEFAULT_MODEL = "stub/die"
    client.post(f"/sessions/{session['id']}/messages", json={"content": "Hello"})
    wait_until(lambda: Message.unscoped.filter(role="assistant").exists())
    kept = client.get(f"/sessions/{session['id']}/messages").json()["data"][-1]
    assert kept["content"].startswith("one")
    assert kept["metadata"]["state"] == "failed"


def test_a_deleted_session_is_gone_everywhere(client, session):
    assert client.delete(f"/sessions/{session['id']}").status_code == 204
    assert client.get(f"/sessions/{session['id']}").status_code == 404
    assert client.get("/sessions").json()["data"] == []
    assert Session.unscoped.get().end_reason == "deleted"
