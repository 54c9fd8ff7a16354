"""Volatile agents: made for a mission's group, gone with it."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps.core.errors import InvalidInput, ScopeInsufficient
from apps.events.models import Event
from apps.formations import selectors, services
from apps.formations.errors import TooMany

GROUP = "Launch #2"
CREW = [
    {"name": "Lead", "role": "Leads", "systemPrompt": "Lead.", "allowedTools": ["read", "x_*"]},
    {"name": "Hand", "model": "openai:gpt-4.1", "reportsTo": "Lead", "maxTurns": 5},
]


def names(actor):
    return {agent.name for agent in selectors.list_agents(actor)}


def test_they_join_the_first_team_as_the_document_says(aurora):
    services.create_team(aurora.ada, "Writers")
    made = services.register_volatile(aurora.ben, GROUP, [{**CREW[0], "team": "Writers"}, CREW[1]])
    lead, hand = (selectors.find_agent(aurora.ada, agent.name) for agent in made)
    first = selectors.first_team(aurora.ada)
    for agent in (lead, hand):
        assert (agent.volatile, agent.mission_group, agent.team_id) == (True, GROUP, first.pk)
    assert (lead.system_prompt, lead.tools, lead.max_turns) == ("Lead.", ["read", "x_*"], 150)
    assert (hand.model, hand.reports_to, hand.max_turns) == ("openai/gpt-4.1", "Lead", 5)


def test_they_may_report_to_one_who_comes_later(aurora):
    made = services.register_volatile(aurora.ada, GROUP, [CREW[1], CREW[0]])
    assert [agent.reports_to for agent in made] == ["Lead", ""]


def test_an_existing_name_is_left_alone(aurora):
    kept = services.create_agent(aurora.ada, name="lead", role="Was here")
    made = services.register_volatile(aurora.ada, GROUP, [*CREW, CREW[1]])
    assert [agent.name for agent in made] == ["Hand"]
    kept = selectors.get_agent(aurora.ada, kept.pk)
    assert (kept.role, kept.volatile, made[0].reports_to) == ("Was here", False, "lead")


def test_they_go_with_their_group_alone(aurora, borealis):
    services.register_volatile(aurora.ada, GROUP, CREW)
    services.register_volatile(aurora.ada, "Other", [{"name": "Guest", "reportsTo": "Hand"}])
    services.register_volatile(borealis.mallory, GROUP, CREW)
    assert services.remove_volatile(aurora.ada, GROUP) == 2
    assert services.remove_volatile(aurora.ada, GROUP) == 0
    assert names(aurora.ada) == {"orchestrator", "Guest"}
    assert selectors.find_agent(aurora.ada, "Guest").reports_to == ""
    assert names(borealis.mallory) == {"orchestrator", "Lead", "Hand"}
    told = Event.objects.filter(workspace_id=aurora.id, name="agent.deleted")
    assert [event.payload["agent_name"] for event in told] == ["Lead", "Hand"]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ([CREW[0], {"name": "x/y"}], "team.1.name"),
        ([CREW[0], {}], "team.1.name"),
        ([CREW[0], {"name": "Hand", "maxTurns": 0}], "team.1.maxTurns"),
        ([CREW[0], {"name": "Hand", "reportsTo": "Nobody"}], "team.1.reportsTo"),
        ([{**CREW[0], "reportsTo": "Hand"}, CREW[1]], "team.1.reportsTo"),
        ([CREW[0], {"name": "Hand", "wings": 2}], "team.1.wings"),
        ([CREW[0], {"name": "Hand", "tags": "x"}], "team.1.tags"),
        ([CREW[0], "Hand"], "team.1.agent"),
        ("Hand", "team"),
        ([{"name": f"Hand {n}"} for n in range(101)], "team"),
    ],
)
def test_a_bad_document_makes_nobody(aurora, bad, field):
    with pytest.raises(InvalidInput) as refused:
        services.register_volatile(aurora.ada, GROUP, bad)
    assert set(refused.value.details["fields"]) == {field}
    assert names(aurora.ada) == {"orchestrator"}


def test_too_many_make_nobody(aurora, monkeypatch):
    monkeypatch.setattr(services.agents, "MAX_AGENTS", 2)
    with pytest.raises(TooMany):
        services.register_volatile(aurora.ada, GROUP, CREW)
    assert names(aurora.ada) == {"orchestrator"}


@transaction.atomic
def register_and_fail(actor):
    services.register_volatile(actor, GROUP, CREW)
    raise RuntimeError


def test_they_are_gone_when_the_callers_transaction_fails(aurora):
    with pytest.raises(RuntimeError):
        register_and_fail(aurora.ada)
    assert names(aurora.ada) == {"orchestrator"}


def test_a_viewer_may_do_neither(aurora):
    for verb in (
        lambda: services.register_volatile(aurora.cleo, GROUP, CREW),
        lambda: services.remove_volatile(aurora.cleo, GROUP),
    ):
        with pytest.raises(ScopeInsufficient):
            verb()
