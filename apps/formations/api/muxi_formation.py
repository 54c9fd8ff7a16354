"""A formation's configuration by its admin key (contract/muxi.md §5.9): the file, its blocks, its MCP
servers. The file is changed by deploying another version; agents are in `muxi_agents.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.urls import path
from drf_spectacular.types import OpenApiTypes

from apps.formations import configured, selectors, services
from apps.formations.api.formation_view import FormationView
from apps.formations.described import servers_of
from apps.formations.errors import McpServerNotFound
from apps.formations.mcp_routes import TOOLS
from apps.surfaces.muxi_formation import ADMIN
from apps.workspaces.selectors import list_secrets

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class ConfigurationView(FormationView):
    """One part of the formation's file."""

    realm = ADMIN
    object_name: ClassVar[str]
    type_name: ClassVar[str]

    def get(self, request: Request, **_: str) -> Response:
        return self.enveloped(self.object_name, self.type_name, self.shown())

    def shown(self) -> dict[str, Any]:
        raise NotImplementedError


class BlockView(ConfigurationView):
    """A block as it stands in the file; `{}` when it does not."""

    block: ClassVar[str]

    def shown(self) -> dict[str, Any]:
        return configured.block(self.running.document, self.block)


class ConfigView(ConfigurationView):
    object_name, type_name = "formation_config", "formation.config.retrieved"

    def shown(self) -> dict[str, Any]:
        running, actor = self.running, self.actor
        shown = configured.overview(running.document, slug=running.slug, version=running.version)
        agents = selectors.list_agents(actor).count()
        servers = servers_of(running.document.get("mcp") or (), selectors.list_mcp_servers(actor))
        shown["agents"] = {"total": agents, "resource": "/v1/agents"}
        shown["secrets"] = {"total": list_secrets(actor).count(), "resource": "/v1/secrets"}
        shown["mcp"]["servers"] = {"total": len(servers), "resource": "/v1/mcp/servers"}
        return shown


class FileView(ConfigurationView):
    object_name, type_name = "formation", "formation.retrieved"

    def shown(self) -> dict[str, Any]:
        return configured.whole_file(self.running.document)


class LlmView(BlockView):
    object_name, type_name, block = "llm_settings", "llm.settings.retrieved", "llm"


class AsyncView(BlockView):
    object_name, type_name, block = "async", "async.retrieved", "async"


class A2aView(BlockView):
    object_name, type_name, block = "a2a", "a2a.retrieved", "a2a"


class LoggingView(BlockView):
    object_name, type_name, block = "logging", "logging.retrieved", "logging"


class DestinationsView(ConfigurationView):
    object_name, type_name = "logging_destination_list", "logging.destinations.list"

    def shown(self) -> dict[str, Any]:
        return configured.destinations(self.running.document)


class OverlordView(ConfigurationView):
    object_name, type_name = "overlord_config", "overlord.config.retrieved"

    def shown(self) -> dict[str, Any]:
        return configured.overlord(self.running.document)


class SoulView(ConfigurationView):
    object_name, type_name = "soul", "soul.retrieved"

    def shown(self) -> dict[str, Any]:
        return {"soul": configured.soul(self.running.document)}


class SchedulerView(ConfigurationView):
    object_name, type_name = "scheduler", "scheduler.retrieved"

    def shown(self) -> dict[str, Any]:
        return configured.scheduler(self.running.document)


class ReloadView(FormationView):
    """What of the bundle's secrets the vault has lost or changed, set back; the rest stays."""

    realm = ADMIN
    gives: ClassVar[Any] = OpenApiTypes.OBJECT

    def post(self, request: Request, **_: str) -> Response:
        merged = services.reload_secrets(self.actor)
        shown = {
            "message": "The secrets have been read again.",
            "added": merged.added,
            "overwritten": merged.overwritten,
            "preserved": merged.preserved,
            "count": len(merged.added) + len(merged.overwritten) + len(merged.preserved),
        }
        return self.enveloped("secret_list", "secret.list", shown)


# --- MCP servers ----------------------------------------------------------------------------------
class McpView(ConfigurationView):
    object_name, type_name = "mcp_defaults", "mcp.defaults.retrieved"

    def shown(self) -> dict[str, Any]:
        return configured.mcp_defaults(self.running.document) | {"servers": self.servers()}

    def servers(self) -> list[dict[str, Any]]:
        rows = selectors.list_mcp_servers(self.actor)
        return servers_of(self.running.document.get("mcp") or (), rows)


class McpServersView(McpView):
    object_name, type_name = "mcp_server_list", "mcp.server.list"

    def shown(self) -> dict[str, Any]:
        servers = self.servers()
        return {"servers": servers, "count": len(servers)}


class McpServerView(McpView):
    object_name, type_name = "mcp_server", "mcp.server.retrieved"

    def shown(self) -> dict[str, Any]:
        wanted = self.kwargs["server_id"]
        found = [server for server in self.servers() if server["id"] == wanted]
        if not found:
            raise McpServerNotFound
        return found[0]


class McpToolsView(ConfigurationView):
    object_name, type_name = "list", "mcp_tool.list"

    def shown(self) -> dict[str, Any]:
        return {"tools": TOOLS, "count": len(TOOLS)}


urlpatterns = [
    path("v1/secrets/reload", ReloadView.as_view()),  # before secrets/{key} of workspaces
    path("v1/config", ConfigView.as_view()),
    path("v1/formation", FileView.as_view()),
    path("v1/mcp", McpView.as_view()),
    path("v1/mcp/servers", McpServersView.as_view()),
    path("v1/mcp/servers/<str:server_id>", McpServerView.as_view()),
    path("v1/mcp/tools", McpToolsView.as_view()),
    path("v1/overlord", OverlordView.as_view()),
    path("v1/overlord/soul", SoulView.as_view()),
    path("v1/llm/settings", LlmView.as_view()),
    path("v1/async", AsyncView.as_view()),
    path("v1/a2a", A2aView.as_view()),
    path("v1/logging", LoggingView.as_view()),
    path("v1/logging/destinations", DestinationsView.as_view()),
    path("v1/scheduler", SchedulerView.as_view()),
]
