"""What can go wrong with memories."""

from __future__ import annotations

from apps.core.errors import Conflict, TooLarge


class MemoryFull(TooLarge):
    """`details["limit"]`: bytes."""

    code = "memory_full"
    message = "This memory is full."


class TooManyMemories(Conflict):
    code = "too_many_memories"
    message = "There are as many memories as there may be."
