"""Teams: make, rename, remove. A workspace keeps one; its oldest is the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from apps.accounts.audit import record_change
from apps.core.actor import Actor, Scope
from apps.core.checks import checked_text, wrong
from apps.core.clock import now
from apps.events.services import publish
from apps.formations.errors import LastTeamStays, TeamNameTaken, TeamNotFound, TooMany
from apps.formations.events import AgentUpdated, TeamCreated, TeamDeleted, TeamRenamed
from apps.formations.locks import lock_agents
from apps.formations.models import Agent, Team
from apps.formations.selectors import find_team, first_team, list_teams

if TYPE_CHECKING:
    from apps.core.facts import Fact

FIRST_NAME = "default"
MAX_TEAMS = 50  # a workspace
LONGEST_NAME = 100


@transaction.atomic
def create_team(actor: Actor, name: str, *, description: str = "") -> Team:
    """Raises InvalidInput, TeamNameTaken, TooMany."""
    actor.need(Scope.WRITE)
    name = _checked_name(name)
    description = checked_text("description", description, 500, required=False)
    lock_agents(actor)
    if list_teams(actor).count() >= MAX_TEAMS:
        raise TooMany
    team = Team(workspace_id=actor.workspace_id, name=name, description=description)
    _save(team, force_insert=True)
    record_change(actor, "team.created", "team", team.pk, after=_shown(team))
    publish(actor, TeamCreated(team_id=team.pk, team=team.name))
    return team


@transaction.atomic
def rename_team(actor: Actor, old_name: str | None, name: str) -> Team:
    """`old_name` None: the first team. Raises TeamNotFound, InvalidInput, TeamNameTaken."""
    actor.need(Scope.WRITE)
    name = _checked_name(name)
    lock_agents(actor)
    team = first_team(actor) if old_name is None else find_team(actor, old_name)
    before = _shown(team)
    if team.name == name:
        return team
    team.name = name
    _save(team)
    record_change(actor, "team.renamed", "team", team.pk, before=before, after=_shown(team))
    publish(actor, TeamRenamed(team_id=team.pk, team=name, was=before["name"]))
    return team


@transaction.atomic
def delete_team(actor: Actor, name: str) -> None:
    """Its agents go over to the first team that remains. Raises TeamNotFound, LastTeamStays."""
    actor.need(Scope.WRITE)
    lock_agents(actor)
    team = find_team(actor, name)
    heir = list_teams(actor).exclude(pk=team.pk).first()
    if heir is None:
        raise LastTeamStays
    moved = _hand_over(actor, team, heir)
    before, team_id = _shown(team), team.pk
    team.delete()
    record_change(actor, "team.deleted", "team", team_id, before=before)
    publish(actor, *moved, TeamDeleted(team_id=team_id, team=before["name"]))


def ensure_first_team(actor: Actor) -> Team:
    """The oldest team, made now if there is none. Its caller holds the workspace's row."""
    try:
        return first_team(actor)
    except TeamNotFound:
        return create_team(actor, FIRST_NAME)


def team_named(actor: Actor, name: str | None) -> Team:
    """By name; None: the first one. Raises TeamNotFound, InvalidInput. As `ensure_first_team`."""
    if name is None:
        return ensure_first_team(actor)
    if not isinstance(name, str):
        raise wrong("team", "Must be the name of a team.")
    return find_team(actor, name)


def _checked_name(name: Any) -> str:
    """A team's name is part of a path: without a slash."""
    text = checked_text("name", name, LONGEST_NAME)
    if "/" in text:
        raise wrong("name", "Must not contain a slash.")
    return text


def _hand_over(actor: Actor, team: Team, heir: Team) -> list[Fact]:
    rows = Agent.objects.in_workspace(actor.workspace_id).filter(team=team)
    moved: list[Fact] = []
    for agent in rows.order_by("id"):
        before, after = {"team": team.name}, {"team": heir.name}
        record_change(actor, "agent.updated", "agent", agent.pk, before=before, after=after)
        moved.append(AgentUpdated(agent_id=agent.pk, agent_name=agent.name, changed=["team"]))
    rows.update(team=heir, updated_at=now())
    return moved


def _save(team: Team, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            team.save(force_insert=force_insert)
    except IntegrityError as error:
        if "team_name_once" in str(error):
            raise TeamNameTaken from None
        raise


def _shown(team: Team) -> dict[str, Any]:
    return {"name": team.name, "description": team.description}
