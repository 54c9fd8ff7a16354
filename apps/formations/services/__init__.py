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
from apps.formations.services.credentials import (
    add_credential,
    opened_credential,
    remove_credential,
)
from apps.formations.services.people import (
    link_identifiers,
    resolve_end_user,
    unlink_identifier,
)
from apps.formations.services.teams import create_team, delete_team, rename_team
from apps.formations.services.volatile import register_volatile, remove_volatile

__all__ = [
    "accept_mcp_tools",
    "add_credential",
    "add_mcp_server",
    "create_agent",
    "create_team",
    "delete_agent",
    "delete_team",
    "ensure_default_agent",
    "forget_policy",
    "link_identifiers",
    "lock_agents",
    "opened_credential",
    "register_volatile",
    "remove_credential",
    "remove_mcp_server",
    "remove_volatile",
    "rename_team",
    "resolve_end_user",
    "set_tool",
    "unlink_identifier",
    "update_agent",
    "update_mcp_server",
]
