"""Verbs on agents, teams and means. Each is one transaction: change, audit, news."""

from __future__ import annotations

from apps.formations.claiming import Outcome, Stage, finished
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
from apps.formations.services.calls import forget_old_calls, note_call
from apps.formations.services.credentials import (
    add_credential,
    opened_credential,
    remove_credential,
)
from apps.formations.services.deploying import check_new, deploy
from apps.formations.services.described import (
    create_described,
    delete_described,
    update_described,
)
from apps.formations.services.dev import run_draft, run_folder, stop_draft
from apps.formations.services.drafts import (
    delete_draft_file,
    deploy_draft,
    discard_draft,
    init_draft,
    write_draft_file,
)
from apps.formations.services.keys import reload_secrets, rotate_keys
from apps.formations.services.people import (
    link_identifiers,
    resolve_end_user,
    unlink_identifier,
)
from apps.formations.services.rolling_back import roll_back
from apps.formations.services.running import delete_formation, restart, start, stop
from apps.formations.services.teams import create_team, delete_team, rename_team
from apps.formations.services.updating import cancel_update, check_update, update
from apps.formations.services.volatile import register_volatile, remove_volatile

__all__ = [
    "Outcome",
    "Stage",
    "accept_mcp_tools",
    "add_credential",
    "add_mcp_server",
    "cancel_update",
    "check_new",
    "check_update",
    "create_agent",
    "create_described",
    "create_team",
    "delete_agent",
    "delete_described",
    "delete_draft_file",
    "delete_formation",
    "delete_team",
    "deploy",
    "deploy_draft",
    "discard_draft",
    "ensure_default_agent",
    "finished",
    "forget_old_calls",
    "forget_policy",
    "init_draft",
    "link_identifiers",
    "lock_agents",
    "note_call",
    "opened_credential",
    "register_volatile",
    "reload_secrets",
    "remove_credential",
    "remove_mcp_server",
    "remove_volatile",
    "rename_team",
    "resolve_end_user",
    "restart",
    "roll_back",
    "rotate_keys",
    "run_draft",
    "run_folder",
    "set_tool",
    "start",
    "stop",
    "stop_draft",
    "unlink_identifier",
    "update",
    "update_agent",
    "update_described",
    "update_mcp_server",
    "write_draft_file",
]
