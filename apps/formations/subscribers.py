"""What formations does when others bring news."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.actor import Actor
from apps.formations.selectors import list_home_ids
from apps.formations.services import ensure_default_agent
from apps.workspaces.events import MemberRemoved
from apps.workspaces.services import seat_in_home

if TYPE_CHECKING:
    from apps.workspaces.events import MemberAdded, MemberChanged, WorkspaceCreated


def welcome(actor: Actor, fact: WorkspaceCreated) -> None:
    """A new workspace gets its default agent in the transaction that makes it."""
    del actor  # may stand in the parent workspace
    ensure_default_agent(Actor.for_system(fact.workspace_id))


def follow_seat(actor: Actor, fact: MemberAdded | MemberChanged | MemberRemoved) -> None:
    """Who belongs to a workspace belongs to the homes of its formations, and nobody who left does."""
    role = None if isinstance(fact, MemberRemoved) else fact.role
    for home_id in list_home_ids(actor):
        seat_in_home(actor, home_id, fact.user_id, role=role)
