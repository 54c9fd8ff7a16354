"""`GET /v1/status` of a formation (contract/muxi.md §5.9).

It stands here because it counts runs and messages, which formations, below, do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path

from apps.conversations.figures import figures_of
from apps.core.clock import now, rfc3339
from apps.core.footprint import cpu_percent, resident_mb
from apps.formations import selectors
from apps.formations.api.formation_view import FormationView
from apps.formations.configured import config_of
from apps.formations.described import is_active, servers_of
from apps.surfaces.muxi_formation import ADMIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.core.actor import Actor
    from apps.formations.registry import Running

# Of an MCP server: some of its tools may wait for a person to look at their change.
ANSWERING = frozenset({"ready", "changed"})


class StatusView(FormationView):
    realm = ADMIN

    def get(self, request: Request, **_: str) -> Response:
        shown = {
            "formation": formation_json(self.running),
            **means_json(self.running, self.actor),
            "stats": stats_json(self.running, self.actor),
        }
        return self.enveloped("formation_status", "formation.status.retrieved", shown)


def formation_json(running: Running) -> dict[str, Any]:
    return {
        "id": running.slug,
        "name": running.name,
        "description": str(config_of(running.document).get("description") or ""),
        "version": running.version,
    }


def means_json(running: Running, actor: Actor) -> dict[str, Mapping[str, int]]:
    """Agents and MCP servers; a server is active when the last contact with it went well."""
    agents = list(selectors.list_agents(actor)[: selectors.MOST_AGENTS])
    servers = servers_of(running.document.get("mcp") or (), selectors.list_mcp_servers(actor))
    answering = [each for each in servers if each["enabled"] and each["status"] in ANSWERING]
    return {
        "agents": {"count": len(agents), "active": sum(is_active(agent) for agent in agents)},
        "mcp_servers": {"count": len(servers), "active": len(answering)},
    }


def stats_json(running: Running, actor: Actor) -> dict[str, Any]:
    """A formation is no process: memory used and processor are those of the one that answers, which
    serves all formations; working memory is the text of this one's messages at hand.
    """
    figures, since = figures_of(actor), running.started_at
    return {
        "running": {
            "seconds": int((now() - since).total_seconds()) if since else 0,
            "since": rfc3339(since),
        },
        "memory": {
            "working_memory_mb": round(figures.characters / 1_000_000, 3),
            "memory_usage_mb": resident_mb(),
        },
        "requests": {"total": figures.requests, "active": figures.active},
        "buffer_size": figures.messages,
        "cpu_percent": cpu_percent(),
    }


urlpatterns = [path("v1/status", StatusView.as_view())]
