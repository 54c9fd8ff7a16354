"""Scheduled jobs and buffers of a formation against their golden files."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.conversations.models import MUXI, Message, Session
from apps.conversations.selectors import recent_messages
from apps.core.ids import uuid7
from apps.core.rows import insert
from tests.contract.golden import assert_golden
from tests.support.formations import document_of, make_formation

pytestmark = pytest.mark.django_db

KIM, LEE = "kim@example.org", "lee@example.org"
MEMORY = {"buffer": {"size": 20, "multiplier": 2}, "persistent": {"multi_user": True}}
WEEKLY = {"type": "recurring", "schedule": "0 0 9 * * 1", "message": "Report the week"}
ONCE = {
    "type": "one_time",
    "schedule": "2999-12-31T23:00:00Z",
    "message": "Wish a happy new year",
    "title": "Party",
    "job_metadata": {"from": "test"},
}


@pytest.fixture
def team(aurora):
    return make_formation(aurora.ada, document=document_of(config={"id": "team", "memory": MEMORY}))


# --- Jobs -----------------------------------------------------------------------------------------
@pytest.fixture
def path(team):
    made = team.post("/v1/scheduler/jobs", WEEKLY, user=KIM)
    assert_golden(made, "muxi_formation/scheduler_jobs_create.json")
    return f"/v1/scheduler/jobs/{made.json()['data']['id']}"


def test_jobs_are_made_and_listed(team, path, count_queries):
    once = team.post("/v1/scheduler/jobs", ONCE, key="admin")
    assert_golden(once, "muxi_formation/scheduler_jobs_create_once.json")
    listed = team.get("/v1/scheduler/jobs", key="admin")
    assert_golden(listed, "muxi_formation/scheduler_jobs_list.json")
    for key, user, count in (("client", KIM, 1), ("client", LEE, 0), ("admin", KIM, 1)):
        answer = team.get("/v1/scheduler/jobs", key=key, user=user).json()
        assert answer["data"]["count"] == count
    with count_queries(5, at_most=True):  # the key and its place; formation; jobs, schedules
        team.get("/v1/scheduler/jobs", key="admin")


def test_the_user_may_stand_in_the_body_and_the_query(team):
    """As the SDK sends it (C15)."""
    made = team.post("/v1/scheduler/jobs", WEEKLY | {"user_id": LEE}, key="admin")
    assert made.json()["data"]["user_id"] == LEE
    assert team.get(f"/v1/scheduler/jobs?user_id={LEE}", key="admin").json()["data"]["count"] == 1
    assert team.get(f"/v1/scheduler/jobs?user_id={KIM}", key="admin").json()["data"]["count"] == 0


def test_a_job_is_read_changed_paused_resumed_and_deleted(team, path):
    assert_golden(team.get(path, user=KIM), "muxi_formation/scheduler_jobs_get.json")
    paused = team.post(f"{path}/pause", user=KIM)
    assert_golden(paused, "muxi_formation/scheduler_jobs_pause.json")
    assert_golden(team.post(f"{path}/pause"), "muxi_formation/error_no_user.json")
    again = team.post(f"{path}/pause", key="admin")
    assert_golden(again, "muxi_formation/error_job_not_found.json")
    resumed = team.post(f"{path}/resume", key="admin")
    assert_golden(resumed, "muxi_formation/scheduler_jobs_resume.json")
    changes = {"title": "Monthly", "message": "Report the month", "schedule": "0 9 1 * *"}
    changed = team.put(path, changes, key="admin")
    assert_golden(changed, "muxi_formation/scheduler_jobs_update.json")
    assert_golden(team.delete(path, key="admin"), "muxi_formation/scheduler_jobs_delete.json")
    assert_golden(team.get(path, key="admin"), "muxi_formation/error_job_not_found.json")


@pytest.mark.parametrize(("key", "user"), [("client", LEE), ("admin", LEE)])
def test_another_users_job_is_not_found(team, path, key, user):
    for method, more in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/pause")):
        answer = team.ask(method, path + more, {"title": "mine"}, key=key, user=user)
        assert_golden(answer, "muxi_formation/error_job_not_found.json")
    assert team.get(path, user=KIM).json()["data"]["title"] == "Report the week"


def test_what_is_no_job_is_refused(team):
    bad = team.post("/v1/scheduler/jobs", WEEKLY | {"schedule": "0 25 * * *"}, user=KIM)
    assert_golden(bad, "muxi_formation/error_job_schedule.json")
    odd = team.post("/v1/scheduler/jobs", WEEKLY | {"type": "hourly"}, user=KIM)
    assert_golden(odd, "muxi_formation/error_job_type.json")
    for body in ({}, WEEKLY | {"message": ""}, WEEKLY | {"title": 501 * "x"}):
        assert team.post("/v1/scheduler/jobs", body, user=KIM).status_code == 422
    assert team.post("/v1/scheduler/jobs", WEEKLY).status_code == 400  # for whom?
    assert team.get("/v1/scheduler/jobs", key="admin").json()["data"]["count"] == 0


def test_a_job_is_made_once_for_an_idempotency_key(team):
    def make(body, user=KIM):
        headers = team.headers("client", user, **{"X-Muxi-Idempotency-Key": "again"})
        return team.client.post(
            "/v1/scheduler/jobs",
            body,
            "application/json",
            headers=headers,
            **{"polymux.formation": team.ref},
        )

    assert make(WEEKLY | {"schedule": "never"}).status_code == 422
    first = make(WEEKLY)
    assert first.json()["request"]["idempotency_key"] == "again"
    assert make(WEEKLY | {"message": "Something else"}).content == first.content
    assert make(WEEKLY, LEE).json()["data"]["user_id"] == LEE
    assert team.get("/v1/scheduler/jobs", key="admin").json()["data"]["count"] == 2


def test_a_jobs_hours_are_told_in_the_formations_zone(aurora):
    zone = {"scheduler": {"timezone": "Europe/Berlin"}, "memory": MEMORY, "id": "team"}
    team = make_formation(aurora.ada, document=document_of(config=zone))
    from apps.tasks.models import Schedule

    assert team.post("/v1/scheduler/jobs", WEEKLY, user=KIM).status_code == 201
    assert Schedule.unscoped.get().zone == "Europe/Berlin"


# --- Buffers --------------------------------------------------------------------------------------
def talk(team, user, key, *texts):
    """A conversation of that user in which this was said, by turns."""
    session = Session.unscoped.create(
        workspace_id=team.home_id, source=MUXI, end_user=user, external_key=key
    )
    for place, text in enumerate(texts):
        say(session, text, "assistant" if place % 2 else "user")
    return session


def say(session, text, role="user"):
    row_id = uuid7()
    insert(
        Message(
            id=row_id,
            workspace_id=session.workspace_id,
            session_id=session.pk,
            wire_id=row_id,
            role=role,
            content=text,
            created_at=timezone.now(),
        )
    )


def context(session):
    """What the next turn reads."""
    return [row.content for row in recent_messages(session.workspace_id, session.pk)]


@pytest.fixture
def talks(team):
    """Kim's two and Lee's one. (Bytes: 5 + 3 + 7, and 5.)"""
    return (
        talk(team, KIM, "first", "Hello", "Hi."),
        talk(team, KIM, "second", "Coffee?"),
        talk(team, LEE, "first", "Howdy"),
    )


def test_a_users_buffer_is_what_their_turns_read(team, talks):
    assert_golden(team.get("/v1/memory/buffer", user=KIM), "muxi_formation/memory_buffer.json")
    shown = team.get("/v1/memory/buffer", key="admin").json()["data"]
    assert (shown["user_id"], shown["total_messages"], len(shown["sessions"])) == (None, 4, 3)
    assert team.get("/v1/memory/buffer").status_code == 400
    nobodys = team.get("/v1/memory/buffer", user="nobody").json()["data"]
    assert nobodys["sessions"] == []


def test_a_cleared_buffer_leaves_the_transcript(team, talks):
    first, second, lees = talks
    cleared = team.delete("/v1/memory/buffer", user=KIM)
    assert_golden(cleared, "muxi_formation/memory_buffer_clear.json")
    assert context(first) == context(second) == []
    assert context(lees) == ["Howdy"]
    told = team.get("/v1/sessions/first/messages", user=KIM).json()["data"]
    assert told["count"] == 2
    say(first, "Again")
    assert context(first) == ["Again"]
    data = team.get("/v1/memory/buffer", user=KIM).json()["data"]
    assert (data["total_messages"], data["buffer_size_kb"]) == (1, 0.005)
    assert team.delete("/v1/memory/buffer", user=KIM).json()["data"]["messages_cleared"] == 1


def test_one_conversations_buffer_is_cleared(team, talks):
    first, second, lees = talks
    path = "/v1/memory/buffer/first"
    assert_golden(team.delete(path, user=KIM), "muxi_formation/memory_buffer_clear_session.json")
    assert (context(first), context(second), context(lees)) == ([], ["Coffee?"], ["Howdy"])
    unknown = team.delete("/v1/memory/buffer/second", user=LEE)
    assert_golden(unknown, "muxi_formation/error_buffer_session.json")
    assert context(second) == ["Coffee?"]


def test_the_admin_key_clears_everybodys_buffer(team, talks):
    """C14: without a user; with one it is theirs alone."""
    assert team.delete("/v1/memory/buffer").status_code == 400
    cleared = team.delete("/v1/memory/buffer", key="admin")
    assert_golden(cleared, "muxi_formation/memory_buffer_clear_all.json")
    assert [context(session) for session in talks] == [[], [], []]


def test_the_figures_of_all_buffers_are_the_admin_keys(team, talks, count_queries):
    assert_golden(team.get("/v1/memory/stats", key="admin"), "muxi_formation/memory_stats.json")
    assert team.get("/v1/memory/stats").status_code == 401
    with count_queries(4, at_most=True):
        team.get("/v1/memory/stats", key="admin")


def test_a_buffer_holds_so_many_messages(aurora):
    small = {"buffer": {"size": 1, "multiplier": 2}}
    team = make_formation(aurora.ada, document=document_of(config={"id": "team", "memory": small}))
    talk(team, "0", "long", *(f"message {number}" for number in range(5)))
    stats = team.get("/v1/memory/stats", key="admin").json()["data"]
    assert (stats["total_entries"], stats["max_size"], stats["utilization"]) == (2, 2, 1.0)
