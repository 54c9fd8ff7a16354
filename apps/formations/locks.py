"""One writer of agents and teams a workspace at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.rows import execute

if TYPE_CHECKING:
    from apps.core.actor import Actor

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('formations:' || %s, 0))"


def lock_agents(actor: Actor) -> None:
    """Until the transaction ends: names, superiors and teams are looked at and changed together.

    Not the workspace's row: a tool that adds an agent holds its asker's seat, and who changes seats
    holds that row.
    """
    execute(_LOCK, [str(actor.workspace_id)])
