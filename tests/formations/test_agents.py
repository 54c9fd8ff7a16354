"""Agents: named once, bounded, and always one of them the default."""

from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.core.actor import Actor
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient
from apps.events.models import Event
from apps.events.services import publish
from apps.formations import selectors, services
from apps.formations.errors import AgentNameTaken, DefaultAgentStays, TooMany
from apps.formations.models import Agent
from apps.workspaces.events import WorkspaceCreated


def test_an_agent_is_found_by_name_whatever_its_case(aurora):
    made = services.create_agent(aurora.ben, name="Scribe", model="openai/gpt-4.1", tools=["now"])
    found = selectors.find_agent(aurora.cleo, "sCRIBE")
    assert (found.id, found.model, found.tools) == (made.id, "openai/gpt-4.1", ["now"])


def test_a_name_is_taken_whatever_its_case(aurora, borealis):
    services.create_agent(aurora.ada, name="Scribe")
    with pytest.raises(AgentNameTaken):
        services.create_agent(aurora.ada, name="SCRIBE")
    services.create_agent(borealis.mallory, name="scribe")


@pytest.mark.parametrize("name", ["", " x", "-x", "a" * 101, "a\n", "a/b", "né", None, 7])
def test_odd_names_are_refused(aurora, name):
    with pytest.raises(InvalidInput) as refused:
        services.create_agent(aurora.ada, name=name)
    assert "name" in refused.value.details["fields"]


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"max_turns": 0},
        {"max_turns": True},
        {"tools": "now"},
        {"tools": [1]},
        {"role": "x" * 501},
        {"system_prompt": "\x00"},
        {"metadata": []},
        {"surprise": 1},
    ],
)
def test_odd_fields_are_refused(aurora, bad):
    with pytest.raises(InvalidInput) as refused:
        services.create_agent(aurora.ada, name="Scribe", **bad)
    assert set(refused.value.details["fields"]) == set(bad)


def test_a_change_is_recorded_and_told(aurora):
    agent = services.create_agent(aurora.ada, name="Scribe")
    services.update_agent(aurora.ben, agent.id, role="Writes", max_turns=20)
    told = Event.objects.filter(workspace_id=aurora.id).last()
    assert (told.name, told.payload["changed"]) == ("agent.updated", ["role"])
    entry = AuditEntry.objects.get(action="agent.updated")
    assert (entry.before["role"], entry.after["role"], entry.user_id) == (
        "",
        "Writes",
        aurora.ben.user_id,
    )


def test_an_update_that_changes_nothing_tells_nothing(aurora):
    agent = services.create_agent(aurora.ada, name="Scribe")
    services.update_agent(aurora.ada, agent.id, role="")
    assert not AuditEntry.objects.filter(action="agent.updated").exists()


def test_a_deleted_agent_is_gone(aurora):
    agent = services.create_agent(aurora.ada, name="Scribe")
    services.delete_agent(aurora.ada, agent.id)
    with pytest.raises(NotFound):
        selectors.get_agent(aurora.ada, agent.id)


def test_the_default_agent_is_made_when_it_is_needed(aurora, count_queries):
    Agent.unscoped.all().delete()
    with pytest.raises(NotFound):
        selectors.default_agent(aurora.cleo)
    made = services.ensure_default_agent(aurora.cleo)
    assert (made.name, made.is_default) == ("orchestrator", True)
    with count_queries(1):
        assert services.ensure_default_agent(aurora.cleo).id == made.id


def test_a_new_workspace_gets_its_default_agent(aurora):
    Agent.unscoped.all().delete()
    fact = WorkspaceCreated(workspace_id=aurora.id, slug="aurora", title="Aurora")
    publish(aurora.ada, fact)
    assert selectors.default_agent(aurora.ada).name == "orchestrator"


def test_the_default_agent_stays(aurora):
    default = services.ensure_default_agent(aurora.ada)
    with pytest.raises(DefaultAgentStays):
        services.delete_agent(aurora.ada, default.id)
    with pytest.raises(DefaultAgentStays):
        services.update_agent(aurora.ada, default.id, is_default=False)


def test_another_agent_can_become_the_default(aurora):
    first = services.ensure_default_agent(aurora.ada)
    second = services.create_agent(aurora.ada, name="Scribe", is_default=True)
    assert selectors.default_agent(aurora.ada).id == second.id
    services.delete_agent(aurora.ada, first.id)


def test_the_number_of_agents_is_capped(aurora, monkeypatch):
    monkeypatch.setattr(services.agents, "MAX_AGENTS", 2)  # the default one counts
    services.create_agent(aurora.ada, name="One")
    with pytest.raises(TooMany):
        services.create_agent(aurora.ada, name="Two")


def test_a_viewer_may_not_write(aurora):
    with pytest.raises(ScopeInsufficient):
        services.create_agent(aurora.cleo, name="Scribe")


def test_a_stranger_finds_nothing(aurora, borealis):
    agent = services.create_agent(aurora.ada, name="Scribe")
    for touch in (
        lambda: selectors.get_agent(borealis.mallory, agent.id),
        lambda: selectors.find_agent(borealis.mallory, "Scribe"),
        lambda: services.update_agent(borealis.mallory, agent.id, role="x"),
        lambda: services.delete_agent(borealis.mallory, agent.id),
    ):
        with pytest.raises(NotFound):
            touch()
    assert selectors.get_agent(aurora.ada, agent.id).role == ""


@pytest.mark.django_db(transaction=True)
def test_twelve_first_looks_make_one_default_agent(race, aurora):
    Agent.unscoped.all().delete()
    outcome = race(services.ensure_default_agent, Actor.for_system(aurora.id), runners=12)
    assert outcome.errors == []
    assert len({agent.id for agent in outcome.results}) == 1
