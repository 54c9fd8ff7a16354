"""A formation's agents by its admin key (contract/muxi.md §5.9, C11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers

from apps.engine.refs import canonical_ref
from apps.formations import selectors, services
from apps.formations.api.formation_view import FormationView
from apps.formations.described import item_of, secrets_in
from apps.formations.profile import MAX_PROMPT
from apps.surfaces.muxi_formation import ADMIN
from apps.surfaces.parsing import StrictSerializer, Text

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.formations.models import Agent

SCHEMAS = ["1.0.0"]
CAPABILITIES = frozenset(
    {"text", "vision", "audio", "video", "documents", "embedding", "streaming"}
)
MOST = 20  # models, servers, sources of one agent


class Flag(serializers.BooleanField):
    """True or false as it was sent: neither text nor a number."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Model(serializers.DictField):
    """One capability and the model for it; perhaps `api_key` (a placeholder) and `settings`."""

    default_error_messages = {
        "capability": "Name one capability of {known}, such as {{text: openai/gpt-4o}}.",
        "written_out": "Keep keys in secrets: ${{{{ secrets.NAME }}}}.",
        "unknown": "This field is not known.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        entry: dict[str, Any] = super().to_internal_value(data)
        named = CAPABILITIES & entry.keys()
        if len(named) != 1 or not _is_reference(entry[next(iter(named))]):
            self.fail("capability", known=", ".join(sorted(CAPABILITIES)))
        if entry.keys() - named - {"api_key", "settings"}:
            self.fail("unknown")
        if "api_key" in entry and not secrets_in(entry["api_key"]):
            self.fail("written_out")
        return entry


class Source(StrictSerializer):
    """Where an agent's knowledge lies: a path in the bundle, or a URL."""

    path = Text(required=False, max_length=500)
    url = serializers.URLField(required=False, max_length=1000)
    description = Text(required=False, allow_blank=True, max_length=2000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("path" in attrs) == ("url" in attrs):
            raise serializers.ValidationError("Give a path or a url, not both.", "either")
        if ".." in attrs.get("path", "").split("/") or attrs.get("path", "").startswith("/"):
            outside = serializers.ErrorDetail("Must lie in the formation's folder.", "outside")
            raise serializers.ValidationError({"path": outside})
        return attrs


class DescribedAgent(StrictSerializer):
    schema = serializers.ChoiceField(SCHEMAS)
    id = Text(max_length=100)
    name = Text(max_length=200)
    description = Text(max_length=2000)
    active = Flag(default=True)
    role = Text(required=False, allow_blank=True, max_length=500)
    author = Text(required=False, allow_blank=True, max_length=200)
    url = serializers.URLField(required=False, max_length=500)
    license = Text(required=False, allow_blank=True, max_length=200)
    version = Text(required=False, max_length=100)
    system_message = Text(required=False, allow_blank=True, max_length=MAX_PROMPT)
    llm_models = serializers.ListField(child=Model(), required=False, max_length=MOST)
    mcp_servers = serializers.ListField(child=Text(max_length=40), required=False, max_length=MOST)
    knowledge = serializers.ListField(child=Source(), required=False, max_length=MOST)
    specialization = serializers.DictField(required=False)
    a2a = serializers.DictField(required=False)


class DescribedView(FormationView):
    realm = ADMIN

    def shown(self, agent: Agent) -> dict[str, Any]:
        return item_of(agent, self.running.document)


class AgentsView(DescribedView):
    takes = {"POST": DescribedAgent}
    gives = {"POST": {201: OpenApiTypes.OBJECT}}

    def get(self, request: Request, **_: str) -> Response:
        agents = selectors.list_agents(self.actor)[: selectors.MOST_AGENTS]
        document = self.running.document
        shown = [item_of(agent, document) for agent in agents]
        return self.enveloped("agent_list", "agent.list", {"agents": shown, "count": len(shown)})

    def post(self, request: Request, **_: str) -> Response:
        agent = services.create_described(self.actor, DescribedAgent.read(request.data))
        return self.enveloped("agent", "agent.created", self.shown(agent), 201)


class AgentView(DescribedView):
    takes = {"PUT": DescribedAgent}

    def get(self, request: Request, agent_id: str, **_: str) -> Response:
        agent = selectors.find_agent(self.actor, agent_id)
        return self.enveloped("agent", "agent.retrieved", self.shown(agent))

    def put(self, request: Request, agent_id: str, **_: str) -> Response:
        """Changes what is given."""
        changes = DescribedAgent.read(request.data, partial=True)
        agent = services.update_described(self.actor, agent_id, changes)
        return self.enveloped("agent", "agent.updated", self.shown(agent))

    def delete(self, request: Request, agent_id: str, **_: str) -> Response:
        gone = services.delete_described(self.actor, agent_id)
        return self.enveloped("agent", "agent.deleted", {"id": gone, "deleted": True})


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 200 and "/" in canonical_ref(value)


urlpatterns = [
    path("v1/agents", AgentsView.as_view()),
    path("v1/agents/<str:agent_id>", AgentView.as_view()),
]
