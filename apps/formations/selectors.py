"""Reading teams, agents, MCP servers and what the workspace says about tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.core.errors import NotFound
from apps.core.rows import execute
from apps.formations.errors import (
    AgentNotFound,
    CredentialNotFound,
    McpServerNotFound,
    TeamNotFound,
)
from apps.formations.models import Agent, McpServer, Team, ToolSetting, UserCredential
from apps.workspaces.preferences import Preferences, read_preferences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor


MOST_AGENTS = 500  # shown at once; as many as a workspace may have
MOST_TEAMS = 50


def list_agents(actor: Actor) -> QuerySet[Agent]:
    """By name. The caller pages."""
    actor.need(Scope.READ)
    rows: QuerySet[Agent] = Agent.objects.in_workspace(actor.workspace_id)
    return rows.order_by("name", "id")


def get_agent(actor: Actor, agent_id: UUID) -> Agent:
    """Raises AgentNotFound when absent or foreign."""
    return _one(list_agents(actor).filter(id=agent_id))


def find_agent(actor: Actor, name: str) -> Agent:
    """By name, whatever its case; raises AgentNotFound."""
    return _one(list_agents(actor).filter(name__iexact=name))


_KNOWN = """SELECT w.settings::text, EXISTS (SELECT 1 FROM formations_agent a
    WHERE a.workspace_id = w.id AND lower(a.name) = lower(%s))
  FROM workspaces_workspace w WHERE w.id = %s AND w.status <> 'removed'"""


def look_up_agent(actor: Actor, name: str) -> tuple[bool, Preferences]:
    """(is there an agent of this name, what the workspace has chosen): one query, for hot paths."""
    actor.need(Scope.READ)
    rows = execute(_KNOWN, [name, actor.workspace_id])
    if not rows:
        raise NotFound
    ((settings, known),) = rows
    return known, read_preferences(json.loads(settings))


def default_agent(actor: Actor) -> Agent:
    """The workspace's default agent; AgentNotFound when there is none yet (see `ensure_…`)."""
    return _one(list_agents(actor).filter(is_default=True))


def list_agents_by_team(actor: Actor) -> list[Agent]:
    """All agents, the first team's first, each team's in order of creation. At most `MOST_AGENTS`."""
    return list(list_agents(actor).order_by("team_id", "id")[:MOST_AGENTS])


def list_teams(actor: Actor) -> QuerySet[Team]:
    """In order of creation: the first one first."""
    actor.need(Scope.READ)
    rows: QuerySet[Team] = Team.objects.in_workspace(actor.workspace_id)
    return rows.order_by("id")


def first_team(actor: Actor) -> Team:
    """The oldest; TeamNotFound when there is none yet."""
    return _one_team(list_teams(actor))


def find_team(actor: Actor, name: str) -> Team:
    """By name, whatever its case; raises TeamNotFound."""
    return _one_team(list_teams(actor).filter(name__iexact=name))


def list_teams_with_agents(actor: Actor) -> list[tuple[Team, list[Agent]]]:
    """Every team and its agents, both in order of creation. Two queries; at most `MOST_AGENTS`."""
    teams: dict[UUID, tuple[Team, list[Agent]]] = {
        team.pk: (team, []) for team in list_teams(actor)[:MOST_TEAMS]
    }
    for agent in list_agents_by_team(actor):
        if agent.team_id in teams:  # else made a moment ago, between the two queries
            teams[agent.team_id][1].append(agent)
    return list(teams.values())


def get_team_with_agents(actor: Actor, name: str | None) -> tuple[Team, list[Agent]]:
    """One team (None: the first) and its agents. Raises TeamNotFound. Two queries."""
    team = first_team(actor) if name is None else find_team(actor, name)
    agents = list_agents(actor).filter(team=team).order_by("id")
    return team, list(agents[:MOST_AGENTS])


def list_mcp_servers(actor: Actor) -> QuerySet[McpServer]:
    """By name, without what is sealed."""
    actor.need(Scope.READ)
    rows: QuerySet[McpServer] = McpServer.objects.in_workspace(actor.workspace_id)
    return rows.defer("sealed").order_by("name")


def get_mcp_server(actor: Actor, server_id: UUID) -> McpServer:
    """Raises McpServerNotFound when absent or foreign."""
    server = list_mcp_servers(actor).filter(id=server_id).first()
    if server is None:
        raise McpServerNotFound
    return server


def tool_settings(actor: Actor) -> Mapping[str, ToolSetting]:
    """Tool name or pattern (`github__*`) -> the workspace's word on it. One query."""
    actor.need(Scope.READ)
    rows: Any = ToolSetting.objects.in_workspace(actor.workspace_id)
    return {row.tool: row for row in rows.order_by("tool")}


def list_credentials(actor: Actor, end_user: str) -> QuerySet[UserCredential]:
    """What `end_user` brought, newest first, without what is sealed. The caller pages."""
    actor.need(Scope.READ)
    rows: QuerySet[UserCredential] = UserCredential.objects.in_workspace(actor.workspace_id)
    return rows.filter(end_user=end_user).defer("sealed").order_by("-created_at", "-id")


def get_credential(actor: Actor, end_user: str, credential_id: UUID) -> UserCredential:
    """Raises CredentialNotFound: absent, foreign and another user's alike."""
    row = list_credentials(actor, end_user).filter(pk=credential_id).first()
    if row is None:
        raise CredentialNotFound
    return row


def _one_team(rows: QuerySet[Team]) -> Team:
    team = rows.first()
    if team is None:
        raise TeamNotFound
    return team


def _one(rows: QuerySet[Agent]) -> Agent:
    agent = rows.first()
    if agent is None:
        raise AgentNotFound
    return agent
