"""`/agents` on the polpo surface against its golden files, under both of its layouts."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from apps.conversations.selectors import get_session
from apps.conversations.services.sessions import create_session
from apps.core.actor import Actor
from apps.core.ids import from_base62, uuid7
from apps.engine.ports import StepRecord, Usage
from apps.formations import selectors, services
from apps.formations.models import Agent
from apps.runs import kinds
from apps.runs.journal import RunJournal
from apps.runs.services import claim_run, open_run
from tests.contract.golden import assert_golden

pytestmark = pytest.mark.django_db

TASK = from_base62("task1")
SCRIBE = {
    "name": "Scribe",
    "role": "Writes the minutes",
    "model": "openai:gpt-4.1",
    "allowedTools": ["read", "write", "browser_*"],
    "allowedPaths": ["minutes"],
    "identity": {
        "displayName": "Ann Scribe",
        "email": "ann@example.org",
        "responsibilities": [
            "minutes",
            {"area": "law", "description": "reads contracts", "priority": "high"},
        ],
        "socials": {"web": "https://example.org"},
    },
    "reportsTo": "Orchestrator",
    "systemPrompt": "Write it down.",
    "skills": ["shorthand"],
    "maxConcurrency": 2,
    "reasoning": "low",
    "browserProfile": "work",
    "emailAllowedDomains": ["example.org"],
    "version": "1.2",
    "author": "Ada",
    "tags": ["office"],
}


class Board:
    """A board's client with one key."""

    def __init__(self, token, base="/api/v1/projects/aurora/agents"):
        self.client = Client(raise_request_exception=False)
        self.headers, self.base = {"X-API-Key": token}, base

    def __call__(self, method, path="", body=None):
        content = b"" if body is None else json.dumps(body).encode()
        path = self.base + path
        return self.client.generic(method, path, content, "application/json", headers=self.headers)


@pytest.fixture(params=["/api/v1/projects/aurora/agents", "/api/v1/agents"])
def board(request, aurora, recording_queue):
    """As Ada, in Aurora: by the project's name, and without one."""
    return Board(aurora.ada_token, request.param)


@pytest.fixture
def writers(board, aurora):
    """A second team with the scribe in it, and a guest of a mission in the first."""
    services.create_team(aurora.ada, "Writers", description="They write.")
    assert board("POST", "?team=Writers", SCRIBE).status_code == 201
    services.register_volatile(aurora.ada, "Launch #2", [{"name": "Guest"}])


def test_agents_are_listed_team_by_team(board, writers):
    assert_golden(board("GET"), "polpo/agents_list.json")


def test_a_list_of_agents_takes_one_query_behind_the_door(board, aurora, count_queries):
    for number in range(20):
        services.create_agent(aurora.ada, name=f"Agent {number}")
    board("GET")
    with count_queries(4, at_most=True):  # key, project, role; agents
        assert len(board("GET").json()["data"]) == 21


def test_an_agent_is_added(board, aurora):
    assert_golden(board("POST", "", {"name": "Scribe"}), "polpo/agents_create.json")
    assert selectors.find_agent(aurora.ada, "scribe").max_turns == 150


def test_an_agent_is_read(board, writers):
    assert_golden(board("GET", "/scribe"), "polpo/agents_get.json")


def test_an_agent_is_changed_moved_and_merged(board, writers):
    changes = {
        "role": "Writes books",
        "model": "ollama:llama3.2:3b",
        "allowedTools": None,
        "maxTurns": 7,
        "identity": {"tone": "dry", "socials": None},
        "reportsTo": "",
        "tags": None,
        "team": "default",
    }
    assert_golden(board("PATCH", "/Scribe", changes), "polpo/agents_patch.json")
    teams = {team["name"]: team["agents"] for team in board("GET", "/teams").json()["data"]}
    assert "Scribe" in [agent["name"] for agent in teams["default"]]
    assert teams["Writers"] == []


def test_a_deleted_agent_is_gone(board, writers):
    assert_golden(board("DELETE", "/Scribe"), "polpo/agents_delete.json")
    assert_golden(board("GET", "/Scribe"), "polpo/error_agent_not_found.json")
    assert_golden(board("DELETE", "/Scribe"), "polpo/error_agent_not_found.json")


def test_the_first_team_is_meant_when_none_is_named(board):
    assert_golden(board("GET", "/team"), "polpo/agents_team.json")
    assert_golden(board("GET", "/team?name=DEFAULT"), "polpo/agents_team.json")
    assert_golden(board("GET", "/team?name=nobodies"), "polpo/agents_team_unknown.json")


@pytest.mark.parametrize("body", [{"name": "Crew"}, {"oldName": "default", "name": "Crew"}])
def test_a_team_is_renamed(board, body):
    assert_golden(board("PATCH", "/team", body), "polpo/agents_team_rename.json")


def test_an_unknown_team_is_not_renamed(board):
    refused = board("PATCH", "/team", {"oldName": "nobodies", "name": "Crew"})
    assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")


def test_teams_are_listed_with_their_agents(board, writers, count_queries):
    assert_golden(board("GET", "/teams"), "polpo/agents_teams.json")
    with count_queries(5, at_most=True):
        board("GET", "/teams")


def test_a_team_is_added_and_removed(board):
    made = board("POST", "/teams", {"name": "Writers", "description": "They write."})
    assert_golden(made, "polpo/agents_teams_create.json")
    again = board("POST", "/teams", {"name": "writers"})
    assert_golden(again, "polpo/error_team_taken.json")
    assert_golden(board("DELETE", "/teams/Writers"), "polpo/agents_teams_delete.json")
    assert_golden(board("DELETE", "/teams/default"), "polpo/error_last_team.json")


@pytest.fixture
def working(aurora, writers, monkeypatch):
    """The scribe at work on a task: a held run and what its journal says."""
    monkeypatch.setitem(kinds._handlers, "task", type("Kind", (), {"agent_key": "task"})())
    scribe = selectors.find_agent(aurora.ada, "Scribe")
    run = open_run(aurora.ada, kind="task", subject=("task", TASK), agent_id=scribe.pk)
    hold, _, _ = claim_run(aurora.id, run.pk)
    journal = RunJournal(Actor.for_engine(aurora.id), hold)
    said = {"text": "I wrote the minutes.", "calls": []}
    for step in (
        StepRecord(1, "model", "stub/model", "ok", output=said, usage=Usage(20, 10)),
        StepRecord(2, "tool", "write_file", "ok", input={"path": "minutes/may.md"}),
        StepRecord(3, "tool", "edit_file", "ok", input={"path": "minutes/april.md"}),
        StepRecord(4, "tool", "now", "ok", input={}),
    ):
        journal._record(step, None)
    return run


def test_processes_are_the_runs_of_tasks(board, working):
    assert_golden(board("GET", "/processes"), "polpo/agents_processes.json")


# --- Refusals ---------------------------------------------------------------------------------
def test_an_absent_agent_is_not_found(board):
    assert_golden(board("GET", "/nobody"), "polpo/error_agent_not_found.json")
    assert_golden(board("PATCH", "/nobody", {"role": 7}), "polpo/error_agent_not_found.json")


def test_a_name_is_taken_once_in_all_teams(board, writers):
    assert_golden(board("POST", "", SCRIBE), "polpo/error_agent_taken.json")


def test_an_unknown_team_takes_nobody(board, aurora):
    refused = board("POST", "?team=nobodies", SCRIBE)
    assert_golden(refused, "polpo/error_team_not_found.json")
    assert Agent.unscoped.filter(workspace_id=aurora.id).count() == 1


def test_what_is_wrong_is_named_as_it_was_sent(board):
    body = {"name": "X", "maxTurns": 201, "allowedTools": ["x" * 121], "tags": ["y" * 201]}
    refused = board("POST", "", body | {"identity": {"bio": 7}})
    assert_golden(refused, "polpo/error_agent_invalid.json")


def test_an_unknown_field_is_refused(board):
    refused = board("POST", "", {"name": "X", "wings": 2})
    assert_golden(refused, "polpo/error_agent_unknown_field.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", 7),
        ("name", "teams"),
        ("role", None),
        ("maxTurns", "5"),
        ("maxTurns", 0),
        ("maxTurns", 1.5),
        ("maxConcurrency", True),
        ("allowedTools", "read"),
        ("allowedTools", [7]),
        ("identity", "Ann"),
        ("reportsTo", "nobody"),
        ("reasoning", "extreme"),
        ("allowedPaths", ["../.."]),
        ("systemPrompt", "\x00"),
        ("team", "x\x00"),
    ],
)
def test_odd_input_is_refused_by_name_and_makes_nobody(board, aurora, field, value):
    refused = board("POST", "", {"name": "X", field: value})
    answer = refused.json()
    assert (refused.status_code, answer["ok"], answer["code"]) == (400, False, "VALIDATION_ERROR")
    assert "\x00" in str(value) or any(name.startswith(field) for name in answer["details"])
    assert Agent.unscoped.filter(workspace_id=aurora.id).count() == 1


def test_the_default_agent_stays(board):
    assert_golden(board("DELETE", "/orchestrator"), "polpo/error_default_agent_stays.json")


def test_a_viewer_may_look_but_not_touch(aurora):
    cleo = Board(aurora.cleo_token)
    assert cleo("GET").status_code == 200
    for refused in (cleo("POST", "", {"name": "X"}), cleo("DELETE", "/teams/default")):
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")


def test_an_agent_added_here_is_offered_as_a_model(board, aurora):
    """The same row on another surface: `workspace/agent`."""
    board("POST", "", {"name": "Poet", "role": "Rhymes"})
    bearer = {"Authorization": f"Bearer {aurora.ada_token}"}
    models = Client().get("/v1/models", headers=bearer).json()["data"]
    assert "aurora/Poet" in [model["id"] for model in models]


def test_an_agent_holds_a_session_that_outlives_it(board, aurora):
    board("POST", "", {"name": "Poet"})
    poet = selectors.find_agent(aurora.ada, "Poet")
    session, _ = create_session(aurora.ada, title="Odes", agent_id=poet.pk)
    board("DELETE", "/Poet")
    assert get_session(aurora.ada, session.pk).agent_id is None


def test_an_agent_of_another_project_is_as_absent_as_any(aurora, borealis):
    services.create_agent(aurora.ada, name="Scribe")
    mallory = Board(borealis.mallory_token)
    answers = {mallory("GET", path).content.decode() for path in ("/Scribe", f"/{uuid7()}")}
    assert len(answers) == 1
    assert mallory("GET").status_code == 404
