"""Who acts, where, and how far they may go: the first argument of every service and selector.

A `Caller` is a proven credential that has not yet said where. `Actor` is a caller inside exactly one
workspace, holding min(token scope, current role). Services on one workspace's rows take an `Actor`;
the few that stand above workspaces (list mine, create one, `/me`) take a `Caller`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from apps.core.errors import Forbidden, ScopeInsufficient

if TYPE_CHECKING:
    from uuid import UUID


class Scope(IntEnum):
    """What a credential may do, increasing: read < write < admin (contract/polymux.md §1.2)."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Scope:
        return cls[name.upper()]

    @property
    def word(self) -> str:
        return self.name.lower()


class Role(StrEnum):
    """A member's role in a workspace (contract/polymux.md §1.2)."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def ceiling(self) -> Scope:
        """The widest scope a holder of this role can use, whatever the token says."""
        return {"viewer": Scope.READ, "member": Scope.WRITE}.get(self.value, Scope.ADMIN)


class CallerKind(StrEnum):
    """How the caller proved who they are."""

    TOKEN = "token"  # noqa: S105  (a kind, not a secret)
    SESSION_TOKEN = "session_token"  # noqa: S105
    KEY = "key"
    LOGIN = "login"
    OPERATOR = "operator"
    ENGINE = "engine"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven credential. `workspace_id` None means account-wide (`*`)."""

    kind: CallerKind
    scope: Scope
    user_id: UUID | None = None
    token_id: UUID | None = None
    workspace_id: UUID | None = None
    session_id: UUID | None = None
    platform: bool = False
    request_id: str = ""
    ip: str = ""

    @property
    def everywhere(self) -> bool:
        return self.workspace_id is None


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller inside exactly one workspace. Immutable; built by `workspaces.selectors.actor_in`."""

    workspace_id: UUID
    scope: Scope
    kind: CallerKind
    role: Role | None = None
    user_id: UUID | None = None
    token_id: UUID | None = None
    session_id: UUID | None = None
    platform: bool = False
    request_id: str = ""
    ip: str = ""

    @classmethod
    def for_engine(cls, workspace_id: UUID, *, user_id: UUID | None = None) -> Actor:
        """The engine's own hands: may write in that workspace, never administer it."""
        return cls(workspace_id, Scope.WRITE, CallerKind.ENGINE, user_id=user_id)

    @classmethod
    def for_system(cls, workspace_id: UUID) -> Actor:
        """Sweepers and schedules: the platform itself, named in the audit as `system`."""
        return cls(workspace_id, Scope.ADMIN, CallerKind.SYSTEM)

    def need(self, scope: Scope) -> None:
        """Raise `ScopeInsufficient` unless this actor holds at least `scope`."""
        if self.scope < scope:
            raise ScopeInsufficient(required=scope.word)

    def need_role(self, *roles: Role) -> None:
        """Raise `Forbidden` unless the member's current role is one of `roles`."""
        if self.role not in roles and self.kind not in {CallerKind.OPERATOR, CallerKind.SYSTEM}:
            raise Forbidden("Your role in this workspace does not allow that.")

    def with_scope(self, scope: Scope) -> Actor:
        """The same actor, narrowed; never widened."""
        return replace(self, scope=min(scope, self.scope))
