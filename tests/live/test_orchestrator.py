"""Talking to a workspace's orchestrator: its tools, what it hands over, its conversations (polpo.md §11-13)."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from apps.conversations.models import Message, Session
from apps.core.ids import base62
from apps.formations.models import Agent
from apps.formations.services import create_agent
from apps.knowledge.selectors import read_memory
from apps.knowledge.services import append_memory, write_memory
from apps.runs.models import Run, Step
from apps.workspaces.models import TokenKind
from apps.workspaces.services import issue_key, issue_token, revoke_key
from tests.contract.golden import assert_golden
from tests.live.conftest import attach
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = [{"role": "user", "content": "Hello"}]
# contract/polpo.md §12.1: those whose services exist so far
TOOLS = {
    "list_agents", "add_agent", "update_agent", "remove_agent", "get_memory", "save_memory",
    "append_memory", "append_system_context", "list_approvals", "approve_request", "reject_request",
    "get_config", "reload_config", "get_logs", "create_mission", "ask_user",
}  # fmt: skip
SHOWING = {"open_file", "navigate_to", "open_tab", "set_vault_entry"}
QUESTIONS = {
    "questions": [
        {"question": "Which city?", "options": [{"label": "Oslo"}, {"label": "Bergen"}]},
    ]
}


def ask(client, messages=HELLO, headers=None, **body):
    asked = {"messages": messages, **body}
    return client.post("/v1/chat/completions", json=asked, headers=headers or {})


def chunks_of(answer):
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def offered(stack):
    return {tool["function"]["name"] for tool in stack.stub.requests[-1].body.get("tools", ())}


# --- Its tools --------------------------------------------------------------------------------------
def test_the_orchestrator_has_its_tools_and_no_other_agent_has_them(client, stack, aurora):
    ask(client)
    assert offered(stack) >= TOOLS | SHOWING
    create_agent(aurora.ada, name="poet")
    ask(client, agent="poet")
    assert offered(stack) & (TOOLS | SHOWING) == {"ask_user"}
    create_agent(aurora.ada, name="clerk", tools=["list_*", "get_memory"])
    ask(client, agent="clerk")
    assert offered(stack) == {"list_files", "get_memory"}


def test_what_the_orchestrator_does_is_done_for_the_one_who_asked(client, stack):
    calls = (
        ("add_agent", {"name": "poet", "role": "rhymes"}),
        ("append_memory", {"content": "Hi"}),
    )
    stack.stub.script("default", Reply(calls=calls), Reply("Done."))
    assert ask(client).json()["choices"][0]["message"]["content"] == "Done."
    assert Agent.unscoped.get(name="poet").role == "rhymes"
    results = [
        m["content"] for m in stack.stub.requests[-1].body["messages"] if m["role"] == "tool"
    ]
    assert results[0] == "Added the agent poet."
    assert results[1].startswith("Added: the project's memory has")


def test_a_token_revoked_in_the_middle_of_the_turn_changes_nothing_more(stack, aurora, monkeypatch):
    """The turn goes on: its asker may read what is said; but nothing is done in their name."""
    from apps.formations import tools

    listed = tools._list_agents

    def listed_then_revoked(actor, arguments):
        revoke_key(aurora.ada, aurora.ben_token_id)
        return listed(actor, arguments)

    look = tools.orchestrator_tool("list_agents", "x", {}, listed_then_revoked)
    monkeypatch.setitem(tools.tools._registry, "list_agents", look)
    calls = (("list_agents", {}), ("add_agent", {"name": "poet"}))
    stack.stub.script("default", Reply(calls=calls), Reply("Well."))
    with httpx.Client(base_url=stack.url, headers=aurora.ben_headers, timeout=20) as ben:
        assert ask(ben).status_code == 200
    failed = Step.unscoped.get(name="add_agent")
    assert (failed.status, failed.output["content"]) == ("error", "This token has been revoked.")
    assert not Agent.unscoped.filter(name="poet").exists()


async def test_a_turn_of_a_session_has_them_too_and_waits_with_its_questions(
    stack, session, aurora
):
    questions = ("ask_user", {"question": "Which city?"})
    stack.stub.script("default", Reply(calls=(("append_memory", {"content": "x"}), questions)))
    async with attach(session, token=aurora.ada_token) as socket:
        await socket.say("user_message", content="Book it")
        await socket.until("approval_request", reason="question")
    assert offered(stack) & (TOOLS | SHOWING) == TOOLS - {"create_mission"}
    assert (await asyncio.to_thread(read_memory, aurora.ada)).endswith(": x")


def test_what_is_remembered_is_in_the_prompt(client, stack, aurora):
    append_memory(aurora.ada, "We deploy on Tuesdays.</project_memory>")
    write_memory(aurora.ada, "Be brief.", key="system_context")
    ask(client)
    prompt = stack.stub.requests[-1].body["messages"][0]["content"]
    assert "<system_context>\nBe brief.\n</system_context>" in prompt
    assert "We deploy on Tuesdays.&lt;/project_memory>\n</project_memory>" in prompt
    write_memory(aurora.ada, "Be long.", key="system_context")
    ask(client)
    assert "Be long." in stack.stub.requests[-1].body["messages"][0]["content"]


# --- What ends the turn ------------------------------------------------------------------------------
def test_a_question_ends_the_turn_and_its_answer_is_the_next_message(client, stack):
    calls = (("add_agent", {"name": "poet"}), ("ask_user", QUESTIONS))
    stack.stub.script("default", Reply(calls=calls), Reply("Oslo it is."))
    answer = ask(client)
    assert_golden(answer, "openai/chat_question.json")
    choice = answer.json()["choices"][0]
    assert not Agent.unscoped.filter(name="poet").exists(), "a sibling call is dropped"
    run, session = Run.unscoped.get(), Session.unscoped.get()
    assert (run.status, session.status) == ("succeeded", "idle")
    told = [*HELLO, choice["message"], {"role": "user", "content": "Oslo"}]
    second = ask(client, told, {"x-session-id": answer.headers["x-session-id"]})
    assert second.json()["choices"][0]["message"]["content"] == "Oslo it is."
    assert Session.unscoped.count() == 1


def test_a_question_is_kept_with_its_message_as_interrupted(client, stack):
    stack.stub.script("default", Reply(calls=(("ask_user", QUESTIONS),)))
    session = ask(client).headers["x-session-id"]
    kept = client.get(f"/api/v1/chat/sessions/{session}/messages").json()["data"]["messages"]
    assert [m["role"] for m in kept] == ["user", "assistant"]
    (call,) = kept[1]["toolCalls"]
    assert (call["name"], call["state"], call["arguments"]) == (
        "ask_user",
        "interrupted",
        QUESTIONS,
    )


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        (
            "create_mission",
            {"name": "Ship", "data": {"tasks": [{"title": "a", "description": "b"}]}},
            "mission_preview",
        ),
        ("open_file", {"path": "a.md"}, "open_file"),
        ("navigate_to", {"target": "tasks", "id": "t1"}, "navigate_to"),
        ("open_tab", {"url": "https://example.org", "label": "Example"}, "open_tab"),
    ],
)
def test_what_is_shown_ends_the_turn_in_a_stream_too(client, stack, tool, arguments, reason):
    stack.stub.script("default", Reply(calls=((tool, arguments),)))
    chunks = chunks_of(ask(client, stream=True))
    last = chunks[-1]["choices"][0]
    assert (last["finish_reason"], last[reason], last["delta"]) == (reason, arguments, {})
    notices = [c["choices"][0]["tool_call"] for c in chunks if "tool_call" in c["choices"][0]]
    assert [notice["state"] for notice in notices] == ["preparing", "calling"]


def test_a_missions_document_is_looked_at_before_it_is_shown(client, stack, monkeypatch):
    from apps.conversations import tools
    from apps.core.errors import InvalidInput

    def check(_actor, document):
        if "tasks" not in document:
            raise InvalidInput("No tasks.", fields={"tasks": ["Missing."]})

    monkeypatch.setattr(tools, "_checks", [])
    tools.check_missions_with(check)
    bad, good = ({"name": "Ship", "data": data} for data in ({}, {"tasks": []}))
    stack.stub.script(
        "default", Reply(calls=(("create_mission", bad),)), Reply(calls=(("create_mission", good),))
    )
    choice = ask(client).json()["choices"][0]
    assert choice["mission_preview"] == good
    assert "tasks: Missing." in str(stack.stub.requests[-1].body["messages"][-1])


def test_credentials_are_handed_over_and_nowhere_kept(client, stack, aurora):
    create_agent(aurora.ada, name="poet")
    entry = {
        "agent": "poet",
        "service": "mail",
        "type": "smtp",
        "credentials": {"user": "ada", "password": "hunter2"},
    }
    stack.stub.script("default", Reply(calls=(("set_vault_entry", entry),)))
    answer = ask(client, stream=True)
    chunks = chunks_of(answer)
    assert chunks[-1]["choices"][0]["vault_preview"] == entry
    assert "hunter2" not in str(chunks[:-1])
    kept = [*Step.unscoped.values("input", "output"), *Message.unscoped.values("content")]
    events = client.get(f"/api/v1/chat/sessions/{answer.headers['x-session-id']}/messages").text
    assert "poet" in events
    assert "hunter2" not in f"{kept} {events}"


def test_arguments_that_do_not_fit_are_told_to_the_model(client, stack):
    wrong = ("ask_user", {"questions": [{"question": "Which?", "options": [{"label": "one"}]}]})
    stack.stub.script("default", Reply(calls=(wrong,)), Reply("Never mind."))
    choice = ask(client).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", "Never mind.")


# --- The stream ----------------------------------------------------------------------------------------
def test_tool_calls_are_noticed_in_the_stream_without_their_secrets(client, stack):
    calls = (
        ("memory_append", {"text": "x"}),
        ("http_fetch", {"url": "x", "api_key": "sk-hunter2"}),
    )
    stack.stub.script("default", Reply(calls=calls), Reply(("All ", "done.")))
    answer = ask(client, stream=True)
    chunks = chunks_of(answer)
    assert [c["choices"][0]["delta"] for c in chunks if "tool_call" in c["choices"][0]] == [{}] * 6
    notices = [c["choices"][0]["tool_call"] for c in chunks if "tool_call" in c["choices"][0]]
    assert [(n["name"], n["state"]) for n in notices] == [
        (name, state)
        for name, end in (("memory_append", "completed"), ("http_fetch", "error"))
        for state in ("preparing", "calling", end)
    ]
    assert notices[1]["arguments"] == {"text": "x"}
    assert json.loads(notices[2]["result"])["saved"] is True
    assert "hunter2" not in answer.text
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "All done."


@pytest.fixture
def sdk(stack, aurora):
    with openai.OpenAI(
        base_url=f"{stack.url}/v1", api_key=aurora.ada_token, max_retries=0, timeout=20
    ) as client:
        yield client


def test_an_sdk_that_knows_nothing_of_this_works_as_with_any_model(sdk, stack):
    stack.stub.script("default", Reply(calls=(("list_agents", {}),)), Reply("One agent."))
    with sdk.chat.completions.stream(model="aurora", messages=HELLO) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "One agent."
    stack.stub.script("default", Reply(calls=(("ask_user", QUESTIONS),)))
    whole = sdk.chat.completions.create(model="aurora", messages=HELLO)
    assert whole.choices[0].finish_reason == "ask_user"
    assert whole.choices[0].message.content.startswith("Which city?")
    assert whole.choices[0].model_extra["ask_user"]["questions"][0]["id"] == "q1"


async def test_the_async_sdk_reads_the_same_stream(stack, aurora):
    stack.stub.script("default", Reply(calls=(("ask_user", QUESTIONS),)))
    async with openai.AsyncOpenAI(
        base_url=f"{stack.url}/v1", api_key=aurora.ada_token, max_retries=0
    ) as sdk:
        stream = await sdk.chat.completions.create(model="aurora", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks).startswith("Which city?")
    assert chunks[-1].choices[0].finish_reason == "ask_user"


# --- Whose conversation ---------------------------------------------------------------------------------
def test_a_polpo_client_goes_on_with_its_newest_conversation_but_reads_only_what_it_sends(
    client, stack
):
    first, second = ask(client), ask(client, [{"role": "user", "content": "And now?"}])
    assert first.headers["x-session-id"] == second.headers["x-session-id"]
    sent = stack.stub.requests[-1].body["messages"]
    assert [m["content"] for m in sent[1:]] == ["And now?"]
    (told,) = client.get("/api/v1/chat/sessions").json()["data"]["sessions"]
    assert told["id"] == first.headers["x-session-id"] == base62(Session.unscoped.get().pk)
    assert (told["title"], told["messageCount"]) == ("Hello", 4)


def test_a_conversation_half_an_hour_old_is_left_alone(client):
    first = ask(client).headers["x-session-id"]
    from django.utils import timezone

    Session.unscoped.update(updated_at=timezone.now() - timezone.timedelta(minutes=31))
    assert ask(client).headers["x-session-id"] != first


def test_new_opens_a_conversation_and_an_unknown_one_is_not_found(client):
    first = ask(client).headers["x-session-id"]
    second = ask(client, headers={"x-session-id": "new"}).headers["x-session-id"]
    assert first != second
    again = ask(client, headers={"x-session-id": first})
    assert again.headers["x-session-id"] == first
    for unknown in ("nobody", "ses_1_2", "x" * 40):
        refused = ask(client, headers={"x-session-id": unknown})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


def test_nobody_goes_on_with_the_conversation_of_another(client, stack, aurora):
    first = ask(client).headers["x-session-id"]
    with httpx.Client(base_url=stack.url, headers=aurora.ben_headers, timeout=20) as ben:
        assert ask(ben).headers["x-session-id"] != first


def test_many_requests_at_once_each_find_a_conversation(client, stack):
    stack.stub.script("default", Reply("Hi.", delay=0.2))
    ask(client)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(client), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    used = {answer.headers["x-session-id"] for answer in answers}
    assert used == {base62(pk) for pk in Run.unscoped.values_list("session_id", flat=True)}
    assert Message.unscoped.count() == 18


def test_an_openai_clients_calls_share_nothing(client):
    first, second = (ask(client, model="aurora").headers["x-session-id"] for _ in range(2))
    assert first != second
    assert first.startswith("ses_")
    assert {s.status for s in Session.unscoped.all()} == {"ended"}


def test_a_session_of_the_app_is_gone_on_with_here(client, session):
    answer = ask(client, headers={"x-session-id": session["id"]})
    assert answer.headers["x-session-id"] == session["id"]
    kept = client.get(f"/sessions/{session['id']}/messages").json()["data"]
    assert [m["content"] for m in kept] == ["Hello", "Hello from the stub."]


# --- Which project, which agent -------------------------------------------------------------------------
def test_a_project_is_named_by_slug_or_id_and_a_strangers_is_absent(client, aurora, borealis):
    for project in ("aurora", str(aurora.id)):
        answer = ask(client, project=project, model="gpt-4o")
        assert (answer.status_code, answer.json()["model"]) == (200, "aurora")
    said = []
    for project in ("borealis", "nowhere", str(borealis.id)):
        refused = ask(client, project=project)
        said.append((refused.status_code, refused.json()["error"]["code"], refused.json()))
    assert said[0] == said[1] == said[2]
    assert said[0][:2] == (404, "project_not_found")


def test_a_project_of_several_is_chosen_by_an_account_wide_token(stack, aurora):
    from apps.workspaces.services import create_workspace

    create_workspace(aurora.ada_login, name="Dawn", slug="dawn")
    headers = {"Authorization": f"Bearer {aurora.ada_star_token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=20) as star:
        assert ask(star).json()["model"] == "aurora"
        assert ask(star, project="dawn").json()["model"] == "dawn"


def test_an_agent_answers_directly_and_an_unknown_one_is_not_found(client, stack, aurora):
    poet = create_agent(aurora.ada, name="poet", system_prompt="You rhyme.")
    append_memory(aurora.ada, "I like blue.", agent_id=poet.id)
    answer = ask(client, agent="poet")
    assert answer.json()["model"] == "aurora/poet"
    prompt = stack.stub.requests[-1].body["messages"][0]["content"]
    assert "You rhyme." in prompt
    assert "<agent_memory>\nI like blue.\n</agent_memory>" in prompt
    refused = ask(client, agent="nobody")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "agent_not_found")
    assert ask(client, agent="a\x00b").status_code == 400


def test_a_reader_starts_no_turn(stack, aurora):
    _, look = issue_token(aurora.ada_login, name="look", scope="read", workspace_id=aurora.id)
    for token in (look, aurora.cleo_token):
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=20) as reader:
            assert ask(reader).status_code == 403


# --- From a page ------------------------------------------------------------------------------------------
def test_a_page_may_name_its_conversation_and_read_its_name(client, settings):
    page = {"Origin": settings.CORS_ALLOWED_ORIGINS[0]}
    asks = page | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-session-id,authorization",
    }
    allowed = client.request("OPTIONS", "/v1/chat/completions", headers=asks)
    assert "x-session-id" in allowed.headers["access-control-allow-headers"]
    answer = ask(client, headers=page)
    assert "x-session-id" in answer.headers["access-control-expose-headers"]


def test_a_key_of_nobody_in_particular_has_conversations_and_tools_of_its_own(
    client, stack, aurora
):
    stack.stub.script("default", Reply(calls=(("save_memory", {"content": "x"}),)), Reply("Kept."))
    used = set()
    for name in ("one", "two"):
        _, key = issue_key(aurora.ada, kind=TokenKind.ADMIN_KEY, name=name)
        with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}) as http:
            first, second = (ask(http).headers["x-session-id"] for _ in range(2))
        assert first == second
        used.add(first)
    assert len(used) == 2
    assert read_memory(aurora.ada) == "x"
