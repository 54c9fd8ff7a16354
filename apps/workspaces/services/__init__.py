"""Verbs on workspaces, members and credentials. Each is one transaction: change, audit, news."""

from __future__ import annotations

from apps.workspaces.services.files import delete_file, make_folder, rename_file, store_files
from apps.workspaces.services.homes import create_home, remove_home
from apps.workspaces.services.members import add_member, change_member, remove_member
from apps.workspaces.services.tokens import (
    adopt_key,
    expire_session_tokens,
    issue_hmac_key,
    issue_key,
    issue_session_token,
    issue_token,
    revoke_key,
    revoke_token,
    set_token_limits,
)
from apps.workspaces.services.vault import put_secret, remove_secret
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
    "adopt_key",
    "change_member",
    "create_home",
    "create_workspace",
    "delete_file",
    "delete_workspace",
    "expire_session_tokens",
    "issue_hmac_key",
    "issue_key",
    "issue_session_token",
    "issue_token",
    "make_folder",
    "put_secret",
    "remove_home",
    "remove_member",
    "remove_secret",
    "rename_file",
    "resume_workspace",
    "revoke_key",
    "revoke_token",
    "set_token_limits",
    "store_files",
    "suspend_workspace",
    "update_settings",
    "update_workspace",
]
