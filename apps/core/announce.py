"""News from the apps that stand below `events`: people and workspaces.

An app may not import what stands above it, yet what happens here belongs in the workspace's log. So
the events app registers its `publish` in `ready()`; until it does, an announcement goes nowhere. So
does one without a workspace: the audit entry is its only record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from apps.core.actor import Actor, Caller

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.facts import Fact


class Publisher(Protocol):
    """`apps.events.services.publish`: writes the facts in the caller's transaction."""

    def __call__(self, actor: Actor, /, *facts: Fact) -> object: ...


class Revoker(Protocol):
    """`apps.events.services.revoke`: closes live streams after the commit."""

    def __call__(
        self,
        *,
        token_id: UUID | None = None,
        user_id: UUID | None = None,
        workspace_id: UUID | None = None,
    ) -> object: ...


_publisher: Publisher | None = None
_revoker: Revoker | None = None


def set_publisher(publish: Publisher | None) -> None:
    """Called once, by the events app in `ready()`."""
    global _publisher  # noqa: PLW0603
    _publisher = publish


def set_revoker(revoke: Revoker | None) -> None:
    """Called once, by the events app in `ready()`."""
    global _revoker  # noqa: PLW0603
    _revoker = revoke


def announce(who: Actor | Caller, *facts: Fact) -> None:
    """Publish `facts` in the workspace of `who`; call it last in the transaction."""
    actor = who if isinstance(who, Actor) else _inside(who)
    if _publisher is not None and actor is not None:
        _publisher(actor, *facts)


def cut_off(
    *, token_id: UUID | None = None, user_id: UUID | None = None, workspace_id: UUID | None = None
) -> None:
    """Close the live streams of that token, or of that user in that workspace, after the commit."""
    if _revoker is not None:
        _revoker(token_id=token_id, user_id=user_id, workspace_id=workspace_id)


def _inside(caller: Caller) -> Actor | None:
    if caller.workspace_id is None:
        return None
    return Actor(
        workspace_id=caller.workspace_id,
        scope=caller.scope,
        kind=caller.kind,
        user_id=caller.user_id,
        token_id=caller.token_id,
        session_id=caller.session_id,
        platform=caller.platform,
        request_id=caller.request_id,
        ip=caller.ip,
    )
