"""The cast. Ada owns Aurora, Ben is its member, Cleo may only read; Mallory lives in Borealis."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.actor import Actor, Caller, CallerKind, Role, Scope
from apps.core.ids import uuid7

if TYPE_CHECKING:
    from uuid import UUID

    from apps.accounts.models import User
    from apps.workspaces.models import Workspace


@dataclass(frozen=True)
class Person:
    """One of the cast in their workspace: the user, their token, and what services take."""

    user: User
    token: str
    token_id: UUID
    actor: Actor
    caller: Caller

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Aurora:
    """Ada's workspace. `ada`, `ben`, `cleo` are Actors; `*_token` is the plain bearer token."""

    workspace: Workspace
    people: dict[str, Person]

    def __getattr__(self, name: str) -> Any:
        person, _, what = name.partition("_")
        if person not in self.people:
            raise AttributeError(name)
        return getattr(self.people[person], what or "actor")

    @property
    def id(self) -> UUID:
        return self.workspace.pk


def raise_aurora() -> Aurora:
    """Ada (owner, admin token), Ben (member, write token), Cleo (viewer, write token)."""
    return _raise("Aurora", {"ada": Role.OWNER, "ben": Role.MEMBER, "cleo": Role.VIEWER})


def raise_borealis() -> Aurora:
    """Mallory (owner, admin token), who has no place in Aurora."""
    return _raise("Borealis", {"mallory": Role.OWNER})


def _raise(name: str, roles: dict[str, Role]) -> Aurora:
    from apps.accounts.models import User
    from apps.events.models import StreamHead
    from apps.workspaces.models import Member, Workspace

    workspace = Workspace.objects.create(name=name, slug=name.lower())
    StreamHead.objects.create(workspace=workspace)
    people = {}
    for who, role in roles.items():
        user = User.objects.create_user(f"{who}@example.org", display_name=who.title())
        Member.unscoped.create(workspace=workspace, user=user, role=role)
        people[who] = _person(workspace, user, role)
    return Aurora(workspace, people)


def _person(workspace: Workspace, user: User, role: Role) -> Person:
    from apps.workspaces.models import ApiToken

    scope = min(Scope.ADMIN, max(role.ceiling, Scope.WRITE))
    plain = f"pmx_{uuid7().hex}"
    token = ApiToken.objects.create(
        user=user,
        workspace=workspace,
        name=f"{user.display_name}'s token",
        scope=scope.word,
        prefix=plain[:12],
        digest=hashlib.sha256(plain.encode()).digest(),
    )
    caller = Caller(CallerKind.TOKEN, scope, user.pk, token.pk, workspace.pk)
    actor = Actor(workspace.pk, min(scope, role.ceiling), CallerKind.TOKEN, role, user.pk, token.pk)
    return Person(user, plain, token.pk, actor, caller)
