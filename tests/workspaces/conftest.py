"""People and workspaces made through the public door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from apps.accounts.models import User
from apps.accounts.selectors import login_caller
from apps.core.actor import Actor, Caller, CallerKind, Role, Scope
from apps.workspaces import selectors, services
from apps.workspaces.models import Workspace

OPERATOR = Caller(CallerKind.OPERATOR, Scope.ADMIN, platform=True)


@dataclass
class World:
    """Ada owns Aurora; Ben is its member, Cleo its viewer. Mallory owns Borealis."""

    users: dict[str, User]
    aurora: Workspace
    borealis: Workspace

    def login(self, who: str) -> Caller:
        return login_caller(self.users[who])

    def actor(self, who: str, workspace: Workspace | None = None) -> Actor:
        return selectors.actor_in(self.login(who), (workspace or self.aurora).pk)

    def operator(self) -> Actor:
        """An operator of the installation at work in Aurora."""
        return selectors.operator_actor(OPERATOR, self.aurora.pk)

    def token(self, who: str, scope: str = "admin", where: Workspace | None = None) -> str:
        """A raw token of `who`; account-wide unless a workspace is named."""
        at = where.pk if where else None
        return services.issue_token(self.login(who), name="t", scope=scope, workspace_id=at)[1]


def build_world() -> World:
    users = {
        name: User.objects.create_user(f"{name}@example.org", display_name=name.title())
        for name in ("ada", "ben", "cleo", "mallory")
    }
    world: Any = World(users, None, None)  # type: ignore[arg-type]
    world.aurora = services.create_workspace(world.login("ada"), name="Aurora", slug="aurora")
    world.borealis = services.create_workspace(
        world.login("mallory"), name="Borealis", slug="borealis"
    )
    ada = world.actor("ada")
    services.add_member(ada, users["ben"].pk, Role.MEMBER)
    services.add_member(ada, users["cleo"].pk, Role.VIEWER)
    return world


@pytest.fixture
def world(db) -> World:
    return build_world()
