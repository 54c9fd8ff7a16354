"""Agents that a running formation's admin makes, changes and removes."""

from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.formations.models import Agent
from apps.formations.selectors import find_agent
from apps.formations.services import add_mcp_server, create_agent
from apps.workspaces.services import set_secret

pytestmark = pytest.mark.django_db

SCOUT = {
    "schema": "1.0.0",
    "id": "scout",
    "name": "Scout",
    "description": "Looks things up.",
    "system_message": "Look twice.",
    "llm_models": [{"text": "openai/gpt-4o", "api_key": "${{ secrets.OPENAI_API_KEY }}"}],
    "mcp_servers": ["maps"],
    "specialization": {"domain": "travel", "keywords": ["train"]},
}


@pytest.fixture
def ready(team):
    """A formation with what the scout needs."""
    add_mcp_server(
        team.home_owner, name="maps", transport="http", url="https://maps.example.org/mcp"
    )
    set_secret(team.home_owner, "OPENAI_API_KEY", "sk-proj-abcdefghijklmnop")
    return team


@pytest.fixture
def scout(ready):
    assert ready.post("/v1/agents", SCOUT, key="admin").status_code == 201
    return ready


def row(team):
    return find_agent(team.home_owner, "scout")


def problems(response):
    assert response.status_code == 422, response.content
    error = response.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    return {(p["field"], p["type"], p["error"]) for p in error["data"]["validation_errors"]}


def test_a_made_agent_is_a_row_as_good_as_any(scout):
    agent = row(scout)
    assert (agent.system_prompt, agent.model) == ("Look twice.", "openai/gpt-4o")
    assert agent.tools[-1] == "maps__*"
    assert agent.role == "Looks things up."
    assert agent.metadata["muxi"]["source"] == "api"


def test_a_change_leaves_the_rest_as_it_was(scout):
    before = row(scout).tools
    changed = scout.put("/v1/agents/scout", {"system_message": "Look once."}, key="admin").json()
    assert changed["data"]["system_message"] == "Look once."
    assert changed["data"]["specialization"] == SCOUT["specialization"]
    agent = row(scout)
    assert (agent.system_prompt, agent.model, agent.tools) == (
        "Look once.",
        "openai/gpt-4o",
        before,
    )


def test_what_another_surface_changed_is_shown_and_kept(scout):
    Agent.objects.in_workspace(scout.home_id).filter(name="scout").update(
        model="openai/gpt-4.1", tools=["read_file"], system_prompt="Look thrice."
    )
    shown = scout.get("/v1/agents/scout", key="admin").json()["data"]
    assert shown["llm_models"] == [{"text": "openai/gpt-4.1"}]
    assert shown["system_message"] == "Look thrice."
    scout.put("/v1/agents/scout", {"description": "Finds."}, key="admin")
    assert (row(scout).model, row(scout).tools) == ("openai/gpt-4.1", ["read_file"])
    assert row(scout).role == "Finds."


def test_an_agent_of_the_file_is_changed_but_not_deleted(team):
    item = {"id": "helper", "name": "Helper", "description": "Helps.", "source": "formation"}
    create_agent(team.home_owner, name="helper", metadata={"muxi": item})
    changed = team.put("/v1/agents/helper", {"active": False}, key="admin").json()["data"]
    assert (changed["active"], changed["source"]) == (False, "formation")
    refused = team.delete("/v1/agents/helper", key="admin")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert find_agent(team.home_owner, "helper")


def test_the_generalist_stays(team):
    (generalist,) = team.get("/v1/agents", key="admin").json()["data"]["agents"]
    assert generalist["source"] == "formation"
    assert team.delete(f"/v1/agents/{generalist['id']}", key="admin").status_code == 403


def test_a_deleted_agent_is_gone(scout):
    assert scout.delete("/v1/agents/scout", key="admin").status_code == 200
    gone = scout.get("/v1/agents/scout", key="admin")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "AGENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": "2"}, ("schema", "string", "invalid")),
        ({"name": 7}, ("name", "string", "wrong_type")),
        ({"name": None}, ("name", "string", "missing")),
        ({"active": "yes"}, ("active", "boolean", "wrong_type")),
        ({"llm_models": "gpt"}, ("llm_models", "array", "wrong_type")),
        ({"llm_models": [{"gpt": "x"}]}, ("llm_models.0", "object", "invalid")),
        (
            {"llm_models": [{"text": "a/b", "api_key": "sk-1"}]},
            ("llm_models.0", "object", "invalid"),
        ),
        ({"mcp_servers": ["nowhere"]}, ("mcp_servers", "string", "invalid")),
        ({"knowledge": [{"path": "../x"}]}, ("knowledge.0.path", "string", "invalid")),
        ({"colour": "red"}, ("colour", "string", "extra_field")),
        ({"id": "../x"}, ("id", "string", "invalid")),
        ({"system_message": "${{ secrets.NOBODYS }}"}, ("system_message", "string", "invalid")),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_made(ready, change, problem):
    before = Agent.objects.in_workspace(ready.home_id).count()
    answer = ready.post("/v1/agents", SCOUT | change, key="admin")
    assert problem in problems(answer)
    assert Agent.objects.in_workspace(ready.home_id).count() == before


def test_an_agent_keeps_its_id(scout):
    refused = scout.put("/v1/agents/scout", {"id": "spy"}, key="admin")
    assert ("id", "string", "invalid") in problems(refused)


def test_a_second_agent_of_the_same_id_is_refused(scout):
    again = scout.post("/v1/agents", SCOUT | {"id": "SCOUT"}, key="admin")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "AGENT_EXISTS")


def test_what_an_admin_does_is_recorded_in_the_home(scout):
    entry = AuditEntry.objects.filter(workspace_id=scout.home_id, action="agent.created").first()
    assert entry.after["name"] == "scout"
    assert entry.request_id.startswith("req_")


def test_a_secret_that_an_agent_names_is_in_use_until_the_agent_is_gone(scout):
    refused = scout.delete("/v1/secrets/OPENAI_API_KEY", key="admin")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SECRET_IN_USE")
    scout.delete("/v1/agents/scout", key="admin")
    assert scout.delete("/v1/secrets/OPENAI_API_KEY", key="admin").status_code == 200


def test_a_list_of_agents_takes_as_many_queries_for_twenty_as_for_one(team, count_queries):
    for number in range(20):
        create_agent(team.home_owner, name=f"agent-{number}")
    team.get("/v1/agents", key="admin")
    with count_queries(3, at_most=True):  # key with its place; formation; agents
        assert team.get("/v1/agents", key="admin").json()["data"]["count"] == 21
