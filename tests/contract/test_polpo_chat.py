"""Conversations and memory on the polpo surface, against their golden files (contract/polpo.md §3, §13)."""

from __future__ import annotations

import pytest

from apps.conversations.models import Message, MessageRole
from apps.conversations.services import create_session, import_session, post_message
from apps.core.ids import base62, session_wire_id, uuid7
from apps.formations.services import create_agent, ensure_default_agent
from apps.knowledge.services import append_memory
from apps.runs.models import Run, RunStatus, Step
from tests.contract.golden import assert_golden
from tests.contract.test_polymux import Api

pytestmark = pytest.mark.django_db

SAID = [
    {"role": "user", "content": "Which tasks are open?"},
    {"role": "assistant", "content": "Two."},
]


@pytest.fixture
def api(aurora, recording_queue):
    """As Ada, in Aurora, by a bearer; the default project is hers."""
    return Api(aurora.ada_token)


@pytest.fixture
def talk(aurora):
    agent = ensure_default_agent(aurora.ada)
    return import_session(aurora.ada, agent_id=agent.id, messages=SAID)


def with_calls(aurora, session):
    """The reply's run: one tool that answered, one that failed, one that ended the turn."""
    run = Run(workspace_id=aurora.id, session_id=session.pk, status=RunStatus.SUCCEEDED)
    run.save()
    ended = run.created_at
    steps = [
        ("c1", "list_agents", "ok", {}, {"content": "- orchestrator", "data": None}),
        ("c2", "http_fetch", "error", {"url": "x", "api_key": "sk-1"}, {"content": "No."}),
        ("c3", "open_file", "interrupted", {"path": "a.md"}, None),
    ]
    for index, (call_id, name, status, given, output) in enumerate(steps, 1):
        Step(
            workspace_id=aurora.id, run_id=run.pk, index=index, kind="tool", name=name,
            call_id=call_id, status=status, input=given, output=output,
            started_at=ended, finished_at=ended,
        ).save()  # fmt: skip
    Message.unscoped.filter(session_id=session.pk, role=MessageRole.ASSISTANT).update(run_id=run.pk)


def test_sessions_are_listed(api, aurora, talk):
    assert_golden(api("GET", "/api/v1/chat/sessions"), "polpo/chat_sessions.json")
    scoped = api("GET", "/api/v1/projects/aurora/chat/sessions")
    assert scoped.json() == api("GET", "/api/v1/chat/sessions").json()


def test_the_session_changed_last_comes_first_wherever_it_was_made(api, aurora, talk):
    made, _ = create_session(aurora.ada, title="From the app", agent_id=None)
    path = "/api/v1/chat/sessions"
    assert [s["id"] for s in api("GET", path).json()["data"]["sessions"]] == [
        base62(made.pk),
        base62(talk.pk),
    ]
    api("PATCH", f"{path}/{base62(talk.pk)}", {"title": "Renamed"})
    assert [s["title"] for s in api("GET", path).json()["data"]["sessions"]] == [
        "Renamed",
        "From the app",
    ]


def test_a_session_names_its_agent_unless_it_is_the_orchestrator(api, aurora):
    poet = create_agent(aurora.ada, name="poet")
    import_session(aurora.ada, agent_id=poet.id, messages=SAID, title="Rhymes")
    (told,) = api("GET", "/api/v1/chat/sessions").json()["data"]["sessions"]
    assert (told["agent"], told["title"], told["messageCount"]) == ("poet", "Rhymes", 2)


def test_the_list_costs_the_same_however_long_it_is(api, aurora, talk, count_queries):
    poet = create_agent(aurora.ada, name="poet")
    for place in range(5):
        import_session(aurora.ada, agent_id=poet.id, messages=SAID, title=f"Talk {place}")
    api("GET", "/api/v1/chat/sessions")
    with count_queries(7, at_most=True):  # caller, home, actor, limit, sessions, counts, agents
        api("GET", "/api/v1/chat/sessions")


def test_a_transcript_is_read_with_its_tool_calls(api, aurora, talk):
    with_calls(aurora, talk)
    path = f"/api/v1/chat/sessions/{base62(talk.pk)}/messages"
    assert_golden(api("GET", path), "polpo/chat_messages.json")


def test_the_tool_calls_of_a_transcript_are_one_query(api, aurora, talk, count_queries):
    with_calls(aurora, talk)
    path = f"/api/v1/chat/sessions/{base62(talk.pk)}/messages"
    with count_queries(9, at_most=True):
        assert api("GET", path).status_code == 200


def test_a_session_is_found_by_either_of_its_names(api, aurora):
    session, _ = create_session(aurora.ada, title="A talk")
    post_message(aurora.ada, session.pk, content="Hello")
    paths = [
        f"/api/v1/chat/sessions/{name}/messages"
        for name in (base62(session.pk), session_wire_id(aurora.id, session.pk), session.pk)
    ]
    answers = [api("GET", path).json()["data"] for path in paths]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["messages"][0]["content"] == "Hello"


def test_a_session_is_renamed(api, talk):
    path = f"/api/v1/chat/sessions/{base62(talk.pk)}"
    assert_golden(api("PATCH", path, {"title": "Open tasks"}), "polpo/chat_rename.json")
    assert_golden(api("PATCH", path, {"title": ""}), "polpo/error_title.json")


def test_a_session_is_deleted_and_then_absent(api, talk):
    path = f"/api/v1/chat/sessions/{base62(talk.pk)}"
    assert_golden(api("DELETE", path), "polpo/chat_delete.json")
    assert_golden(api("GET", f"{path}/messages"), "polpo/error_session.json")
    assert api("DELETE", path).status_code == 404


def test_an_id_that_is_none_is_not_found(api, aurora):
    for name in ("nobody", "-", "x" * 30, base62(uuid7())):
        assert api("GET", f"/api/v1/chat/sessions/{name}/messages").status_code == 404


def test_a_conversation_is_imported(api, aurora):
    ensure_default_agent(aurora.ada)
    body = {"messages": [{"role": "user", "content": "x" * 90}, SAID[1]]}
    made = api("POST", "/api/v1/chat/sessions/import", body)
    assert_golden(made, "polpo/chat_import.json")
    path = f"/api/v1/chat/sessions/{made.json()['data']['sessionId']}/messages"
    told = api("GET", path).json()["data"]
    assert (told["session"]["title"], len(told["messages"])) == ("x" * 60, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": "x", "ts": "yesterday"}]},
    ],
    ids=str,
)
def test_a_bad_import_leaves_nothing(api, aurora, body):
    answer = api("POST", "/api/v1/chat/sessions/import", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert api("GET", "/api/v1/chat/sessions").json()["data"]["sessions"] == []


def test_memory_is_written_and_read(api, aurora):
    assert_golden(api("GET", "/api/v1/memory"), "polpo/memory_empty.json")
    append_memory(aurora.ada, "We deploy on Tuesdays.")
    assert_golden(api("GET", "/api/v1/projects/aurora/memory"), "polpo/memory_get.json")
    put = api("PUT", "/api/v1/memory", {"content": ""})
    assert_golden(put, "polpo/memory_put.json")
    assert api("GET", "/api/v1/memory").json()["data"] == {"exists": True, "content": ""}


@pytest.mark.parametrize("body", [{}, {"content": None}, {"content": ["x"]}], ids=str)
def test_memory_needs_a_text(api, body):
    assert api("PUT", "/api/v1/memory", body).status_code == 400
    assert api("GET", "/api/v1/memory").json()["data"]["exists"] is False


def test_standing_instructions_have_a_place_of_their_own(api):
    path = "/api/v1/memory/system-context"
    assert_golden(api("PUT", path, {"content": "Be brief."}), "polpo/memory_context_put.json")
    assert_golden(api("GET", path), "polpo/memory_context.json")
    assert api("GET", "/api/v1/memory").json()["data"]["exists"] is False


def test_an_agent_has_a_memory_of_its_own(api, aurora):
    create_agent(aurora.ada, name="poet")
    path = "/api/v1/memory/agent/poet"
    assert_golden(api("PUT", path, {"content": "I rhyme."}), "polpo/memory_agent_put.json")
    assert_golden(api("GET", path), "polpo/memory_agent.json")
    assert api("GET", "/api/v1/memory/agent/nobody").status_code == 404
