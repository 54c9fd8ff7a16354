"""Conversations and requests of a formation's users against golden files (contract/muxi.md §5.6)."""

from __future__ import annotations

import pytest

from apps.conversations.models import Message, Session, TurnRequest
from apps.conversations.services import restore_session
from apps.core.clock import now
from apps.formations.services import create_agent
from apps.runs.models import Run, RunStatus
from tests.contract.golden import assert_golden
from tests.support.formations import document_of, make_formation

pytestmark = pytest.mark.django_db

SAID = [
    {"role": "user", "content": "Where to?", "timestamp": "2026-05-01T10:00:00Z"},
    {"role": "assistant", "content": "North.", "timestamp": "2026-05-01T10:00:01Z", "agent_id": "helper"},
]  # fmt: skip
TRIP = "/v1/sessions/trip"


@pytest.fixture
def trip(team, recording_queue):
    """A conversation that Kim's application has restored."""
    create_agent(team.home_owner, name="helper")
    assert_golden(
        team.post(f"{TRIP}/restore", {"messages": SAID}, user="kim"), "muxi/session_restore.json"
    )
    return Session.unscoped.get()


@pytest.fixture
def request_one(team, trip):
    run = Run(workspace_id=team.home_id, session_id=trip.pk, status=RunStatus.QUEUED)
    run.save()
    made = TurnRequest(
        workspace_id=team.home_id, name="req_one", end_user="kim", session=trip, run=run,
        created_at=now(),
    )  # fmt: skip
    made.save()
    return made


def ended(request, status, **more):
    Run.unscoped.filter(pk=request.run_id).update(status=status, finished_at=now(), **more)


def test_conversations_are_listed_and_read(team, trip):
    assert_golden(team.get("/v1/sessions", user="kim"), "muxi/sessions.json")
    assert_golden(team.get(TRIP, user="kim"), "muxi/session.json")
    assert_golden(team.get(f"{TRIP}/messages", user="kim"), "muxi/session_messages.json")
    assert_golden(team.get("/v1/sessions"), "muxi/error_user.json")


def test_a_formation_for_one_user_knows_one_user(aurora, borealis):
    one = make_formation(borealis.mallory, "one", document=document_of(config={"id": "one"}))
    one.post(f"{TRIP}/restore", {"messages": SAID}, user="kim")
    (told,) = one.get("/v1/sessions", user="lee").json()["data"]["sessions"]
    assert (told["session_id"], told["user_id"]) == ("trip", "0")
    assert one.get(f"{TRIP}/messages", user="lee").json()["data"]["count"] == 2


def test_a_conversation_is_absent_for_everybody_else(team, trip):
    assert_golden(team.get(TRIP, user="lee"), "muxi/error_session.json")
    assert_golden(team.get("/v1/sessions/none", user="kim"), "muxi/error_session.json")
    assert team.get("/v1/sessions", user="lee").json()["data"]["count"] == 0
    assert team.get("/v1/sessions", user="kim", key="admin").status_code == 401


def test_a_restored_conversation_replaces_what_was_said(team, trip):
    many = [{"role": "user", "content": str(place)} for place in range(1_003)]
    told = team.post(f"{TRIP}/restore", {"messages": many}, user="kim").json()["data"]
    assert (told["messages_loaded"], told["messages_dropped"]) == (1_000, 3)
    page = team.get(f"{TRIP}/messages?limit=2", user="kim").json()["data"]
    assert [one["text"] for one in page["messages"]] == ["1001", "1002"]
    assert page["has_more"]
    before = page["messages"][0]["timestamp"]
    older = team.get(f"{TRIP}/messages?limit=1&before={before!r}", user="kim").json()["data"]
    assert [one["text"] for one in older["messages"]] == ["1000"]
    assert Session.unscoped.count() == 1


def test_what_is_said_next_comes_after_what_was_restored(team, trip):
    ahead = [{"role": "user", "content": "Later", "timestamp": "2999-01-01T00:00:00Z"}]
    team.post(f"{TRIP}/restore", {"messages": ahead}, user="kim")
    assert Message.unscoped.get().created_at <= now()


def test_a_conversation_is_not_restored_under_its_turn(team, request_one):
    refused = team.post(f"{TRIP}/restore", {"messages": []}, user="kim")
    assert (refused.status_code, Message.unscoped.count()) == (409, 2)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"{TRIP}/restore", {"messages": [{"role": "robot", "content": ""}]}, "messages.0.role"),
        (f"{TRIP}/restore", {}, "messages"),
        (f"/v1/sessions/{'x' * 201}/restore", {"messages": []}, "session_id"),
        ("/v1/sessions?limit=0", None, "limit"),
        ("/v1/sessions?limit=1001", None, "limit"),
        (f"{TRIP}/messages?before=soon", None, "before"),
    ],
)
def test_what_is_wrong_is_named(team, trip, path, body, field):
    answer = team.ask("GET" if body is None else "POST", path, body, user="kim")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    assert error["data"]["validation_errors"][0]["field"] == field


def test_requests_are_listed_and_read(team, request_one):
    assert_golden(team.get("/v1/requests", user="kim"), "muxi/requests.json")
    assert team.get("/v1/requests", user="lee").json()["data"]["count"] == 0
    assert team.get("/v1/requests", key="admin").json()["data"]["count"] == 1
    path = "/v1/requests/req_one"
    ended(request_one, RunStatus.FAILED, error_message="The model provider failed.")
    assert_golden(team.get(path, user="kim"), "muxi/request_failed.json")
    Message.unscoped.filter(role="assistant").update(wire_id=request_one.run_id)
    ended(request_one, RunStatus.SUCCEEDED, error_message="")
    assert_golden(team.get(path, user="kim"), "muxi/request.json")
    assert_golden(team.get(path, user="lee"), "muxi/error_request.json")


def test_a_request_is_cancelled(team, request_one):
    path = "/v1/requests/req_one"
    assert team.delete(path, user="lee").status_code == 404
    assert_golden(team.delete(path, user="kim"), "muxi/request_cancelled.json")
    assert_golden(team.delete(path, user="kim"), "muxi/request_cancelled.json")
    ended(request_one, RunStatus.SUCCEEDED)
    assert_golden(team.delete(path, user="kim"), "muxi/error_cancel.json")


def test_lists_cost_the_same_however_long_they_are(team, trip, request_one, count_queries):
    for place in range(4):
        restore_session(team.home_owner, end_user="kim", key=f"k{place}", messages=[])
    team.get("/v1/sessions", user="kim")
    with count_queries(4):  # the key and its home, the formation, who it is, the list
        assert team.get("/v1/sessions", user="kim").json()["data"]["count"] == 5
    with count_queries(4):
        team.get("/v1/requests", user="kim")
