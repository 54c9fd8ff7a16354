"""What one end user owns in a formation, made for real, and how each kind of id is spelled in a path.

A route with a new kind of id fails the walk until its kind is added to `KINDS`: make one such thing of
`user` in `bury`, give `nowhere` an id that nobody has, and say here how it looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.formations import Made

# Open to everybody by contract: health, documents, the agent card.
PUBLIC = re.compile(r"/(?:v1/?|v1/health|docs/?|openapi\.json|\.well-known/.*)?")
# Kinds of ids that are no user's own: what the formation has is the same for all of its users.
SHARED: frozenset[str] = frozenset()
# A body that the route would take from its owner, so that a refusal is about who asks.
BODIES: dict[str, Any] = {}


@dataclass(frozen=True)
class Treasure:
    """Ids of things of one end user; `nowhere()` has the same shape and names nothing."""

    user: str


def bury(team: Made, user: str) -> Treasure:
    return Treasure(user=user)


def nowhere(treasure: Treasure) -> Treasure:
    return Treasure(user="nobody@example.org")


KINDS: dict[str, Callable[[Treasure], str]] = {"user": lambda t: t.user}
