"""Teams: every workspace has a first one, and every agent is in one."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient
from apps.events.models import Event
from apps.formations import selectors, services
from apps.formations.errors import LastTeamStays, TeamNameTaken, TeamNotFound, TooMany
from apps.formations.models import Agent, Team

MIGRATION = "apps.formations.migrations.0003_every_agent_in_a_team"


def roster(actor):
    return [
        (team.name, [agent.name for agent in agents])
        for team, agents in selectors.list_teams_with_agents(actor)
    ]


def test_a_new_workspace_has_a_first_team_with_its_first_agent(aurora):
    assert roster(aurora.cleo) == [("default", ["orchestrator"])]


def test_agents_join_the_first_team_or_the_one_that_is_named(aurora):
    services.create_team(aurora.ben, "Writers", description="They write.")
    services.create_agent(aurora.ben, name="Scribe", team="wRITERS")
    services.create_agent(aurora.ben, name="Any")
    assert roster(aurora.ada) == [("default", ["orchestrator", "Any"]), ("Writers", ["Scribe"])]
    assert [a.name for a in selectors.list_agents_by_team(aurora.ada)] == [
        "orchestrator",
        "Any",
        "Scribe",
    ]


def test_an_agent_moves(aurora):
    services.create_team(aurora.ada, "Writers")
    agent = services.create_agent(aurora.ada, name="Scribe")
    services.update_agent(aurora.ada, agent.pk, team="Writers")
    team, agents = selectors.get_team_with_agents(aurora.ada, "writers")
    assert (team.name, [a.name for a in agents]) == ("Writers", ["Scribe"])
    told = Event.objects.filter(workspace_id=aurora.id, name="agent.updated").get()
    assert told.payload["changed"] == ["team"]


def test_an_unknown_team_makes_no_agent(aurora):
    with pytest.raises(TeamNotFound):
        services.create_agent(aurora.ada, name="Scribe", team="Nobodies")
    with pytest.raises(NotFound):
        selectors.find_agent(aurora.ada, "Scribe")


def test_a_team_is_renamed_and_it_is_recorded(aurora):
    services.rename_team(aurora.ada, None, "Crew")
    services.rename_team(aurora.ada, "cREW", "CREW")
    assert selectors.first_team(aurora.ada).name == "CREW"
    told = Event.objects.filter(workspace_id=aurora.id, name="team.renamed").first()
    assert (told.payload["was"], told.payload["team"]) == ("default", "Crew")
    assert AuditEntry.objects.filter(action="team.renamed").count() == 2


def test_a_name_is_taken_whatever_its_case(aurora, borealis):
    services.create_team(aurora.ada, "Crew")
    with pytest.raises(TeamNameTaken):
        services.create_team(aurora.ada, "cREW")
    with pytest.raises(TeamNameTaken):
        services.rename_team(aurora.ada, "Crew", "Default")
    services.create_team(borealis.mallory, "crew")


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\nb", "a\x00b", "x" * 101, None, 7])
def test_odd_names_are_refused(aurora, name):
    for make in (
        lambda: services.create_team(aurora.ada, name),
        lambda: services.rename_team(aurora.ada, None, name),
    ):
        with pytest.raises(InvalidInput) as refused:
            make()
        assert "name" in refused.value.details["fields"]


def test_a_deleted_teams_agents_go_over_to_the_first(aurora):
    services.create_team(aurora.ada, "Writers")
    services.create_agent(aurora.ada, name="Scribe", team="Writers")
    services.delete_team(aurora.ada, "default")
    assert roster(aurora.ada) == [("Writers", ["orchestrator", "Scribe"])]
    told = list(Event.objects.filter(workspace_id=aurora.id).values_list("name", flat=True))
    assert told[-2:] == ["agent.updated", "team.deleted"]


def test_the_last_team_stays(aurora):
    with pytest.raises(LastTeamStays):
        services.delete_team(aurora.ada, "default")


def test_the_number_of_teams_is_capped(aurora, monkeypatch):
    monkeypatch.setattr(services.teams, "MAX_TEAMS", 1)
    with pytest.raises(TooMany):
        services.create_team(aurora.ada, "Two")


def test_a_viewer_may_not_write_and_a_stranger_finds_nothing(aurora, borealis):
    services.create_team(aurora.ada, "Crew")
    for write in (
        lambda actor: services.create_team(actor, "Mine"),
        lambda actor: services.rename_team(actor, "Crew", "Mine"),
        lambda actor: services.delete_team(actor, "Crew"),
    ):
        with pytest.raises(ScopeInsufficient):
            write(aurora.cleo)
    for touch in (services.delete_team, selectors.find_team):
        with pytest.raises(TeamNotFound):
            touch(borealis.mallory, "Crew")
    with pytest.raises(TeamNotFound):
        services.rename_team(borealis.mallory, "Crew", "Mine")


def test_teams_and_their_agents_take_two_queries(aurora, count_queries):
    for number in range(4):
        services.create_team(aurora.ada, f"Team {number}")
        services.create_agent(aurora.ada, name=f"Agent {number}", team=f"Team {number}")
    with count_queries(2):
        assert len(selectors.list_teams_with_agents(aurora.ada)) == 5
    with count_queries(2):
        selectors.get_team_with_agents(aurora.ada, "Team 1")
    with count_queries(1):
        selectors.list_agents_by_team(aurora.ada)


def forget_teams():
    """As the database was before there were teams."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE formations_agent ALTER COLUMN team_id DROP NOT NULL")
        cursor.execute("UPDATE formations_agent SET team_id = NULL")
    Team.unscoped.all().delete()


def test_the_migration_gives_everybody_a_team_and_may_run_again(aurora, borealis):
    services.create_agent(aurora.ada, name="Scribe")
    Agent.unscoped.filter(workspace_id=borealis.id).delete()
    forget_teams()
    migration = import_module(MIGRATION)
    migration.BATCH = 1
    for _ in range(2):
        migration.give_each_a_team(apps, None)
    assert roster(aurora.ada) == [("default", ["orchestrator", "Scribe"])]
    assert roster(borealis.mallory) == [("default", [])]
