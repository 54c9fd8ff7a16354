"""Verbs on workspaces, members and credentials. Each is one transaction: change, audit, news."""

from __future__ import annotations

from apps.workspaces.services.members import add_member, change_member, remove_member
from apps.workspaces.services.tokens import (
    expire_session_tokens,
    issue_hmac_key,
    issue_key,
    issue_session_token,
    issue_token,
    revoke_key,
    revoke_token,
    set_token_limits,
)
from apps.workspaces.services.workspaces import (
    create_workspace,
    delete_workspace,
    resume_workspace,
    suspend_workspace,
    update_settings,
    update_workspace,
)

__all__ = [
    "add_member",
    "change_member",
    "create_workspace",
    "delete_workspace",
    "expire_session_tokens",
    "issue_hmac_key",
    "issue_key",
    "issue_session_token",
    "issue_token",
    "remove_member",
    "resume_workspace",
    "revoke_key",
    "revoke_token",
    "set_token_limits",
    "suspend_workspace",
    "update_settings",
    "update_workspace",
]
