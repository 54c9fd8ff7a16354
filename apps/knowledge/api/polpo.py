"""The project's memory on the polpo surface (contract/polpo.md §3.5, §4, §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from apps.formations.selectors import find_agent
from apps.knowledge.prompt import CONTEXT_KEY, PROJECT_KEY
from apps.knowledge.selectors import read_memory
from apps.knowledge.services import MAX_BYTES, write_memory
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class Written(StrictSerializer):
    refuses_unknown = False
    content = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=MAX_BYTES)


class Note(serializers.Serializer[Any]):
    exists = serializers.BooleanField()
    content = serializers.CharField(allow_blank=True)


class Answer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    data = Note()  # type: ignore[assignment]  # a field, not DRF's property


class MemoryView(PolpoView):
    """The text that every agent of the project reads."""

    key = PROJECT_KEY
    takes = {"PUT": Written}
    gives = {"GET": Answer}

    def get(self, request: Request, **_: Any) -> Response:
        text = read_memory(self.actor, self.key)
        return self.ok({"exists": text is not None, "content": text or ""})

    def put(self, request: Request, **_: Any) -> Response:
        write_memory(self.actor, Written.read(request.data)["content"], key=self.key)
        return self.ok({"saved": True})


class SystemContextView(MemoryView):
    """The standing instructions. Ours: upstream has a tool for them, and no route."""

    key = CONTEXT_KEY


class AgentMemoryView(PolpoView):
    """One agent's own memory, by the agent's name."""

    takes = {"PUT": Written}
    gives = {"GET": Answer}

    def get(self, request: Request, agent_name: str, **_: Any) -> Response:
        agent = find_agent(self.actor, agent_name)
        text = read_memory(self.actor, PROJECT_KEY, agent_id=agent.id)
        return self.ok({"exists": text is not None, "content": text or "", "agent": agent.name})

    def put(self, request: Request, agent_name: str, **_: Any) -> Response:
        agent = find_agent(self.actor, agent_name)
        content = Written.read(request.data)["content"]
        write_memory(self.actor, content, key=PROJECT_KEY, agent_id=agent.id)
        return self.ok({"saved": True, "agent": agent.name})


urlpatterns = [
    *on_projects("memory", MemoryView.as_view()),
    *on_projects("memory/system-context", SystemContextView.as_view()),
    *on_projects("memory/agent/<str:agent_name>", AgentMemoryView.as_view()),
]
