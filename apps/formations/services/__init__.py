"""Verbs on agents, teams and means. Each is one transaction: change, audit, news."""

from __future__ import annotations

from apps.formations.locks import lock_agents
from apps.formations.means import (
    accept_mcp_tools,
    add_mcp_server,
    remove_mcp_server,
    set_tool,
    update_mcp_server,
)
from apps.formations.policy import forget_policy
from apps.formations.services.agents import (
    create_agent,
    delete_agent,
    ensure_default_agent,
    update_agent,
)
from apps.formations.services.teams import create_team, delete_team, rename_team
from apps.formations.services.volatile import register_volatile, remove_volatile

__all__ = [
    "accept_mcp_tools",
    "add_mcp_server",
    "create_agent",
    "create_team",
    "delete_agent",
    "delete_team",
    "ensure_default_agent",
    "forget_policy",
    "lock_agents",
    "register_volatile",
    "remove_mcp_server",
    "remove_volatile",
    "rename_team",
    "set_tool",
    "update_agent",
    "update_mcp_server",
]
