"""Reading agents, MCP servers and what the workspace says about tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.formations.errors import AgentNotFound, McpServerNotFound
from apps.formations.models import Agent, McpServer, ToolSetting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor


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


def default_agent(actor: Actor) -> Agent:
    """The workspace's default agent; AgentNotFound when there is none yet (see `ensure_…`)."""
    return _one(list_agents(actor).filter(is_default=True))


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


def _one(rows: QuerySet[Agent]) -> Agent:
    agent = rows.first()
    if agent is None:
        raise AgentNotFound
    return agent
