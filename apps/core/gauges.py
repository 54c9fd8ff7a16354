"""Numbers that an app below shows and an app above counts.

`GET /tokens/{id}/usage` reports a token's active sessions, but sessions live above workspaces: the
conversations app registers its counter in `ready()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Gauge = Callable[[UUID], int]

_gauges: dict[str, Gauge] = {}


def register(name: str, count: Gauge) -> None:
    """`count(subject_id)` answers gauge `name` from now on; the last registration holds."""
    _gauges[name] = count


def unregister(name: str) -> None:
    _gauges.pop(name, None)


def read(name: str, subject_id: UUID) -> int:
    """The gauge's present value; 0 while nobody counts it."""
    count = _gauges.get(name)
    return count(subject_id) if count else 0
