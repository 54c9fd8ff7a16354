"""What formations does when others bring news."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.actor import Actor
from apps.formations.services import ensure_default_agent

if TYPE_CHECKING:
    from apps.workspaces.events import WorkspaceCreated


def welcome(actor: Actor, fact: WorkspaceCreated) -> None:
    """A new workspace gets its default agent in the transaction that makes it."""
    del actor  # may stand in the parent workspace
    ensure_default_agent(Actor.for_system(fact.workspace_id))
