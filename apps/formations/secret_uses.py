"""Does a formation still need this secret? What `workspaces.keeping` asks before one is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.errors import NotFound
from apps.formations import registry
from apps.formations.described import KEY, secrets_in
from apps.formations.selectors import MOST_AGENTS, list_agents

if TYPE_CHECKING:
    from apps.core.actor import Actor


def refers_to_secret(actor: Actor, name: str) -> bool:
    """True when the formation's file, or an agent made since, names `${{ secrets.NAME }}`."""
    return name.upper() in _of_the_file(actor) | _of_agents(actor)


def _of_the_file(actor: Actor) -> set[str]:
    try:
        document = registry.running(actor.workspace_id).document
    except NotFound:
        return set()
    return {str(name).upper() for name in document.get("secrets_used") or ()}


def _of_agents(actor: Actor) -> set[str]:
    written = list_agents(actor).values_list("metadata", flat=True)[:MOST_AGENTS]
    return secrets_in([metadata.get(KEY) for metadata in written])
