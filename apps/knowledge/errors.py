"""What can go wrong with memories."""

from __future__ import annotations

from apps.core.errors import Conflict, NotFound, TooLarge, Unavailable


class MemoryFull(TooLarge):
    """`details["limit"]`: bytes."""

    code = "memory_full"
    message = "This memory is full."


class TooManyMemories(Conflict):
    code = "too_many_memories"
    message = "There are as many memories as there may be."


class MemoryNotFound(NotFound):
    code = "memory_not_found"
    message = "No such memory."


class MemoryOff(Unavailable):
    """The formation's file says `memory.persistent: false`."""

    code = "memory_off"
    message = "This formation keeps no memories."
