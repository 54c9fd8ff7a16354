"""Reading teams, agents, MCP servers and what the workspace says about tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Length

from apps.core.actor import Scope
from apps.core.errors import NotFound
from apps.core.rows import execute
from apps.formations.errors import (
    AgentNotFound,
    CredentialNotFound,
    DraftFileNotFound,
    DraftNotFound,
    FormationNotFound,
    McpServerNotFound,
    TeamNotFound,
)
from apps.formations.models import (
    Agent,
    DraftFile,
    Formation,
    FormationDraft,
    FormationPort,
    McpServer,
    PortPurpose,
    ServerCall,
    Team,
    ToolSetting,
    UserCredential,
)
from apps.workspaces.preferences import Preferences, read_preferences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor


MOST_AGENTS = 500  # shown at once; as many as a workspace may have
MOST_TEAMS = 50
MOST_FORMATIONS = 1_000  # shown at once; as many as there are ports


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


# --- Formations -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ports:
    """The installation's ports: how many there are, and how many are somebody's."""

    low: int
    high: int
    allocated: int

    @property
    def total(self) -> int:
        return self.high - self.low + 1


def list_formations(actor: Actor) -> QuerySet[Formation]:
    """What this workspace has deployed, by id, each with its versions and its `live_port`."""
    actor.need(Scope.READ)
    rows: QuerySet[Formation] = Formation.objects.in_workspace(actor.workspace_id)
    live = FormationPort.objects.in_workspace(actor.workspace_id).filter(
        formation=OuterRef("pk"), purpose=PortPurpose.LIVE
    )
    return (
        rows.select_related("current", "previous")
        .defer("current__document", "previous__document")
        .annotate(live_port=Subquery(live.values("port")[:1]))
        .order_by("slug")
    )


def find_formation(actor: Actor, slug: str) -> Formation:
    """By id; raises FormationNotFound."""
    formation = list_formations(actor).filter(slug=slug.replace("\x00", "")).first()
    if formation is None:
        raise FormationNotFound
    return formation


def list_home_ids(actor: Actor) -> list[UUID]:
    """The homes of what this workspace has deployed, and of its drafts that run."""
    live = Formation.objects.in_workspace(actor.workspace_id)
    drafts = FormationDraft.objects.in_workspace(actor.workspace_id).exclude(home=None)
    ids = live.order_by().values_list("home_id", flat=True)
    return list(ids.union(drafts.order_by().values_list("home_id", flat=True)))


def count_formations(actor: Actor) -> dict[str, int]:
    """Status -> how many."""
    actor.need(Scope.READ)
    rows = Formation.objects.in_workspace(actor.workspace_id).order_by()
    return dict(rows.values_list("status").annotate(Count("id")))


def port_pool(actor: Actor) -> Ports:
    """How full the installation's ports are. Whose they are, it does not say."""
    actor.need(Scope.READ)
    low, high = settings.FORMATION_PORTS
    drafts = FormationDraft.unscoped.exclude(port=None).count()
    return Ports(low, high, FormationPort.unscoped.count() + drafts)


def list_calls(actor: Actor, limit: int) -> list[ServerCall]:
    """The newest `limit` calls of the management API, oldest first."""
    actor.need(Scope.READ)
    rows = ServerCall.objects.in_workspace(actor.workspace_id).order_by("-at", "-id")
    return list(reversed(rows[:limit]))


def find_draft(actor: Actor, slug: str) -> FormationDraft:
    """By its formation's id; raises DraftNotFound."""
    actor.need(Scope.READ)
    rows = FormationDraft.objects.in_workspace(actor.workspace_id)
    draft = rows.filter(slug=slug.replace("\x00", "")).first()
    if draft is None:
        raise DraftNotFound
    found: FormationDraft = draft
    return found


def list_draft_files(actor: Actor, draft: FormationDraft) -> list[tuple[str, int]]:
    """(path, size in bytes) of all its files, by path."""
    actor.need(Scope.READ)
    rows = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    sized = rows.annotate(size=Length("content")).order_by("path")
    return list(sized.values_list("path", "size"))


def read_draft_file(actor: Actor, draft: FormationDraft, path: str) -> bytes:
    """One file; raises DraftFileNotFound."""
    actor.need(Scope.READ)
    rows = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    content = rows.filter(path=path).values_list("content", flat=True).first()
    if content is None:
        raise DraftFileNotFound
    return bytes(content)
