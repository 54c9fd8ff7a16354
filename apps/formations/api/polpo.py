"""`/agents` on the polpo surface (contract/polpo.md §3.4, §4 and §8).

`/agents/processes` stands in runs: what an agent is doing is a run's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers

from apps.formations import selectors, services
from apps.formations.errors import TeamNotFound
from apps.formations.profile import complaining_of, config_of, fields_of, team_config
from apps.formations.services.volatile import USUAL_TURNS
from apps.surfaces.parsing import StrictSerializer, Text, Whole
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


def texts(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=Text(), required=False, **kwargs)


class AgentChanges(StrictSerializer):
    """What of an AgentConfig may be set."""

    role = Text(required=False, allow_blank=True)
    model = Text(required=False, allow_blank=True)
    allowedTools = texts(allow_null=True)
    allowedPaths = texts(allow_null=True)
    systemPrompt = Text(required=False, allow_blank=True)
    skills = texts()
    maxTurns = Whole(required=False)
    maxConcurrency = Whole(required=False, allow_null=True)
    identity = serializers.DictField(required=False, allow_null=True)
    reportsTo = Text(required=False, allow_blank=True, allow_null=True)
    reasoning = Text(required=False, allow_blank=True)
    browserProfile = Text(required=False, allow_null=True)
    emailAllowedDomains = texts(allow_null=True)
    version = Text(required=False, allow_null=True)
    author = Text(required=False, allow_null=True)
    tags = texts(allow_null=True)
    team = Text(required=False)


class AgentBody(AgentChanges):
    name = Text()


class TeamBody(StrictSerializer):
    name = Text()
    description = Text(required=False, allow_blank=True)


class TeamName(StrictSerializer):
    oldName = Text(required=False)
    name = Text()


class AgentsView(PolpoView):
    takes = {"POST": AgentBody}
    gives = {"POST": {201: OpenApiTypes.OBJECT}}

    def get(self, request: Request, **_: str) -> Response:
        agents = selectors.list_agents_by_team(self.actor)
        return self.ok([config_of(agent) for agent in agents])

    def post(self, request: Request, **_: str) -> Response:
        fields = {"max_turns": USUAL_TURNS, **fields_of(AgentBody.read(request.data))}
        if team := self.admission.credentials.query.get("team"):
            fields["team"] = team
        with complaining_of():
            services.create_agent(self.actor, **fields)
        return self.ok({"added": True}, 201)


class AgentView(PolpoView):
    takes = {"PATCH": AgentChanges}

    def get(self, request: Request, agent_name: str, **_: str) -> Response:
        return self.ok(config_of(selectors.find_agent(self.actor, agent_name)))

    def patch(self, request: Request, agent_name: str, **_: str) -> Response:
        agent = selectors.find_agent(self.actor, agent_name)
        with complaining_of():
            changes = fields_of(AgentChanges.read(request.data))
            agent = services.update_agent(self.actor, agent.pk, **changes)
        return self.ok(config_of(agent))

    def delete(self, request: Request, agent_name: str, **_: str) -> Response:
        agent = selectors.find_agent(self.actor, agent_name)
        services.delete_agent(self.actor, agent.pk)
        return self.ok({"removed": True})


class TeamView(PolpoView):
    takes = {"PATCH": TeamName}

    def get(self, request: Request, **_: str) -> Response:
        """An unknown name is no error here: the data is null."""
        name = self.admission.credentials.query.get("name")
        try:
            return self.ok(team_config(*selectors.get_team_with_agents(self.actor, name)))
        except TeamNotFound:
            return self.ok(None)

    def patch(self, request: Request, **_: str) -> Response:
        body = TeamName.read(request.data)
        team = services.rename_team(self.actor, body.get("oldName"), body["name"])
        return self.ok(team_config(*selectors.get_team_with_agents(self.actor, team.name)))


class TeamsView(PolpoView):
    takes = {"POST": TeamBody}
    gives = {"POST": {201: OpenApiTypes.OBJECT}}

    def get(self, request: Request, **_: str) -> Response:
        teams = selectors.list_teams_with_agents(self.actor)
        return self.ok([team_config(team, agents) for team, agents in teams])

    def post(self, request: Request, **_: str) -> Response:
        body = TeamBody.read(request.data)
        services.create_team(self.actor, body.pop("name"), **body)
        return self.ok({"added": True}, 201)


class NamedTeamView(PolpoView):
    def delete(self, request: Request, team_name: str, **_: str) -> Response:
        services.delete_team(self.actor, team_name)
        return self.ok({"removed": True})


urlpatterns = [
    *on_projects("agents", AgentsView.as_view()),
    *on_projects("agents/team", TeamView.as_view()),
    *on_projects("agents/teams", TeamsView.as_view()),
    *on_projects("agents/teams/<str:team_name>", NamedTeamView.as_view()),
    # Last: it would read the names above as agents'.
    *on_projects("agents/<str:agent_name>", AgentView.as_view()),
]
