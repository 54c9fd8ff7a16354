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


class Opener(Protocol):
    """Makes a new workspace's log ready, in the transaction that makes the workspace."""

    def __call__(self, workspace_id: UUID, /) -> object: ...


_publisher: Publisher | None = None
_opener: Opener | None = None


def set_publisher(publish: Publisher | None) -> None:
    """Called once, by the events app in `ready()`."""
    global _publisher  # noqa: PLW0603
    _publisher = publish


def set_opener(open_stream: Opener | None) -> None:
    """Called once, by the events app in `ready()`."""
    global _opener  # noqa: PLW0603
    _opener = open_stream


def announce(who: Actor | Caller, *facts: Fact) -> None:
    """Publish `facts` in the workspace of `who`; call it last in the transaction."""
    actor = who if isinstance(who, Actor) else _inside(who)
    if _publisher is not None and actor is not None:
        _publisher(actor, *facts)


def open_stream(workspace_id: UUID) -> None:
    """Prepare the log of a workspace that is being made."""
    if _opener is not None:
        _opener(workspace_id)


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
