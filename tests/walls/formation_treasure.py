"""What one end user owns in a formation, made for real, and how each kind of id is spelled in a path.

A route with a new kind of id fails the walk until its kind is added to `KINDS`: make one such thing of
`user` in `bury`, give `nowhere` an id that nobody has, and say here how it looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.ids import uuid7, wire_id
from apps.formations.services import add_credential
from apps.knowledge.services import remember

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.support.formations import Made

# Open to everybody by contract: health, documents, the agent card.
PUBLIC = re.compile(r"/(?:v1/?|v1/health|docs/?|openapi\.json|\.well-known/.*)?")
# Kinds of ids that are no user's own: what the formation has is the same for all of its users.
SHARED: frozenset[str] = frozenset({"name", "identifier"})
# A body that the route would take from its owner, so that a refusal is about who asks.
BODIES: dict[str, Any] = {}


@dataclass(frozen=True)
class Treasure:
    """Ids of things of one end user; `nowhere()` has the same shape and names nothing."""

    user: str
    memory_id: UUID
    credential_id: UUID


def bury(team: Made, user: str) -> Treasure:
    ours = team.home_owner
    return Treasure(
        user=user,
        memory_id=remember(ours, user, "likes tea").pk,
        credential_id=add_credential(ours, user, "github", {"token": "x" * 20}).pk,
    )


def nowhere(treasure: Treasure) -> Treasure:
    return Treasure(user="nobody@example.org", memory_id=uuid7(), credential_id=uuid7())


KINDS: dict[str, Callable[[Treasure], str]] = {
    "user": lambda t: t.user,
    "memory_id": lambda t: wire_id("mem", t.memory_id),
    "credential_id": lambda t: wire_id("cred", t.credential_id),
    "name": lambda _: "greet",
    "identifier": lambda _: "telegram:7",
}
