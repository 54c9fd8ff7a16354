"""What can go wrong with workspaces, members and credentials."""

from __future__ import annotations

from apps.core.errors import Conflict, Forbidden, NotFound


class WorkspaceSuspended(Forbidden):
    code = "workspace_suspended"
    message = "This workspace is suspended: it can be read, not changed."


class SlugTaken(Conflict):
    code = "slug_taken"
    message = "This slug is in use."


class LastWorkspace(Conflict):
    code = "last_workspace"
    message = "This is your last workspace. Create another one first."


class HasChildren(Conflict):
    code = "workspace_has_children"
    message = "This workspace has workspaces below it. Remove those first."


class WorkspaceLimitReached(Conflict):
    code = "workspace_limit_reached"
    message = "You own as many workspaces as one person may."


class LastOwner(Conflict):
    code = "last_owner"
    message = "A workspace keeps at least one owner."


class AlreadyMember(Conflict):
    code = "already_member"
    message = "This user is a member already."


class TokenLimitReached(Conflict):
    code = "token_limit_reached"
    message = "There are as many live tokens as may be. Revoke one first."


class FolderFull(Conflict):
    code = "folder_full"
    message = "The workspace's folder is full. Nothing was written."


class FileNameTaken(Conflict):
    code = "file_name_taken"
    message = "There is a file or folder of this name already."


class FolderNotEmpty(Conflict):
    code = "folder_not_empty"
    message = "The folder is not empty."


class SecretNotFound(NotFound):
    code = "secret_not_found"
    message = "No such secret."


class SecretExists(Conflict):
    code = "secret_exists"
    message = "A secret of this name exists already."


class SecretInUse(Conflict):
    code = "secret_in_use"
    message = "Something still refers to this secret."
