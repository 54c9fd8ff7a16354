"""The cast. Ada owns Aurora, Ben is its member, Cleo may only read; Mallory lives in Borealis.

Their world is built by the services, as they would build it themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.actor import Actor, Caller, CallerKind, Role, Scope

if TYPE_CHECKING:
    from uuid import UUID

    from apps.accounts.models import User
    from apps.workspaces.models import Workspace


@dataclass(frozen=True)
class Person:
    """One of the cast in their workspace: the user, their tokens, and what services take.

    `token` opens this workspace only; `star_token` every workspace of theirs.
    """

    user: User
    token: str
    token_id: UUID
    star_token: str
    caller: Caller
    actor: Actor

    @property
    def login(self) -> Caller:
        """They, at their own keyboard: account-wide, with all their rights."""
        return _login(self.user)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Aurora:
    """A workspace and its people. `aurora.ada` is an Actor, `aurora.ada_token` a plain bearer token;
    likewise `ada_user`, `ada_token_id`, `ada_star_token`, `ada_caller`, `ada_headers`.
    """

    workspace: Workspace
    people: dict[str, Person]

    def __getattr__(self, name: str) -> Any:
        person, _, what = name.partition("_")
        people = self.__dict__.get("people", {})
        if person not in people:
            raise AttributeError(name)
        return getattr(people[person], what or "actor")

    @property
    def id(self) -> UUID:
        return self.workspace.pk


def raise_aurora() -> Aurora:
    """Ada (owner, admin token), Ben (member, write token), Cleo (viewer, write token)."""
    return _raise("Aurora", "ada", {"ben": Role.MEMBER, "cleo": Role.VIEWER})


def raise_borealis() -> Aurora:
    """Mallory (owner, admin token), who has no place in Aurora."""
    return _raise("Borealis", "mallory", {})


def _raise(name: str, owner: str, others: dict[str, Role]) -> Aurora:
    from apps.workspaces.services import add_member, change_member, create_workspace

    first = _user(owner)
    workspace = create_workspace(_login(first), name=name, slug=name.lower())
    people = {owner: _person(workspace, first, "admin")}
    for who, role in others.items():
        user = _user(who)
        # Each was a member when the token was made: Cleo's says `write`, but her role is less.
        add_member(people[owner].actor, user.pk, Role.MEMBER)
        token = _person(workspace, user, "write")
        if role != Role.MEMBER:
            change_member(people[owner].actor, user.pk, role)
        people[who] = _seen_now(token, workspace)
    return Aurora(workspace, people)


def _user(name: str) -> User:
    from apps.accounts.models import User

    return User.objects.create_user(f"{name}@example.org", display_name=name.title())


def _login(user: User) -> Caller:
    """Somebody who has just logged in: account-wide."""
    return Caller(CallerKind.LOGIN, Scope.ADMIN, user_id=user.pk)


def _person(workspace: Workspace, user: User, scope: str) -> Person:
    from apps.workspaces.services import issue_token

    login = _login(user)
    row, token = issue_token(login, name="laptop", scope=scope, workspace_id=workspace.pk)
    _, star = issue_token(login, name="everywhere", scope=scope)
    return _with_actor(workspace, user, token, row.pk, star)


def _with_actor(
    workspace: Workspace, user: User, token: str, token_id: UUID, star_token: str
) -> Person:
    from apps.workspaces.credentials import actor_in, caller_of_token

    caller = caller_of_token(token)
    actor = actor_in(caller, workspace.pk)
    return Person(user, token, token_id, star_token, caller, actor)


def _seen_now(person: Person, workspace: Workspace) -> Person:
    """The same person with the role they have now."""
    return _with_actor(workspace, person.user, person.token, person.token_id, person.star_token)
