"""What happened to workspaces, their members and their credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceCreated(Fact):
    name: ClassVar[str] = "workspace.created"
    subject: ClassVar[tuple[str, str]] = ("workspace", "workspace_id")

    workspace_id: UUID
    slug: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceChanged(Fact):
    name: ClassVar[str] = "workspace.changed"
    subject: ClassVar[tuple[str, str]] = ("workspace", "workspace_id")

    workspace_id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRemoved(Fact):
    name: ClassVar[str] = "workspace.removed"
    subject: ClassVar[tuple[str, str]] = ("workspace", "workspace_id")

    workspace_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSuspended(Fact):
    name: ClassVar[str] = "workspace.suspended"
    subject: ClassVar[tuple[str, str]] = ("workspace", "workspace_id")

    workspace_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceResumed(Fact):
    name: ClassVar[str] = "workspace.resumed"
    subject: ClassVar[tuple[str, str]] = ("workspace", "workspace_id")

    workspace_id: UUID
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(Fact):
    name: ClassVar[str] = "member.added"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChanged(Fact):
    name: ClassVar[str] = "member.changed"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
    old_role: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved(Fact):
    name: ClassVar[str] = "member.removed"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued(Fact):
    name: ClassVar[str] = "token.issued"
    subject: ClassVar[tuple[str, str]] = ("token", "token_id")

    token_id: UUID
    kind: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(Fact):
    """The credential opens nothing from the next request on; its live streams are closed."""

    name: ClassVar[str] = "token.revoked"
    subject: ClassVar[tuple[str, str]] = ("token", "token_id")

    token_id: UUID
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanged(Fact):
    """In the workspace's folder. `action`: created, modified, deleted, renamed; `source`: who did it,
    `server` for a surface (contract/polpo.md §15). `path` and `dir` from the top of the folder.
    """

    name: ClassVar[str] = "file.changed"

    path: str
    dir: str
    action: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSet(Fact):
    """A value was kept under this name; what it is, nobody is told."""

    name: ClassVar[str] = "secret.set"
    subject: ClassVar[tuple[str, str]] = ("secret", "secret_id")

    secret_id: UUID
    secret_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRemoved(Fact):
    name: ClassVar[str] = "secret.removed"
    subject: ClassVar[tuple[str, str]] = ("secret", "secret_id")

    secret_id: UUID
    secret_name: str
