"""`/.well-known/agent-card.json` on a formation: who answers here, for other agents (A2A 0.3.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework.response import Response

from apps.formations.api.formation_view import FormationView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rest_framework.request import Request

    from apps.formations.registry import Running

PROTOCOL = "0.3.0"
MODES = ["text/plain", "application/json"]


def card_of(running: Running, base: str) -> dict[str, Any]:
    """The card. It names the formation's own API, not one of A2A's transports: agents that speak it
    call `POST {url}/chat` with a client key.
    """
    config = running.config
    return {
        "protocolVersion": PROTOCOL,
        "name": running.name,
        "description": str(config.get("description") or ""),
        "version": running.version,
        "url": f"{base}/v1",
        "preferredTransport": "muxi/v1",
        "documentationUrl": f"{base}/docs",
        "capabilities": {"streaming": True, "pushNotifications": True},
        "defaultInputModes": MODES,
        "defaultOutputModes": MODES,
        "securitySchemes": {
            "client": {"type": "apiKey", "in": "header", "name": "X-MUXI-CLIENT-KEY"}
        },
        "security": [{"client": []}],
        "skills": [
            _skill(agent)
            for agent in running.document.get("agents", [])
            if agent.get("active", True)
        ],
    }


def _skill(agent: Mapping[str, Any]) -> dict[str, Any]:
    """What one agent is good at."""
    special = agent.get("specialization")
    special = special if isinstance(special, dict) else {}
    tags = [special.get("domain"), *(special.get("keywords") or []), agent.get("role")]
    return {
        "id": str(agent.get("id")),
        "name": str(agent.get("name") or agent.get("id")),
        "description": str(agent.get("description") or ""),
        "tags": [str(tag) for tag in tags if tag],
    }


class AgentCardView(FormationView):
    public = True

    def get(self, request: Request, **_: str) -> Response:
        ref = self.admission.credentials.formation
        base = request.build_absolute_uri("/").rstrip("/")
        if ref and "x-formation-id" in self.admission.credentials.headers:
            base += f"/{'draft' if ref.draft else 'api'}/{ref.slug}"
        return Response(card_of(self.running, base))


urlpatterns = [path(".well-known/agent-card.json", AgentCardView.as_view())]
