"""What happened to memories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChanged(Fact):
    """Not the text: a memory may be private to an agent. `size` in bytes."""

    name: ClassVar[str] = "memory.changed"
    subject: ClassVar[tuple[str, str]] = ("memory", "memory_id")

    memory_id: UUID
    key: str
    agent_id: UUID | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMemoryFact(Fact):
    """Not the text: it is the end user's. `scope`: user, group or formation."""

    name: ClassVar[str] = "user_memory.changed"
    subject: ClassVar[tuple[str, str]] = ("user_memory", "memory_id")

    memory_id: UUID
    end_user: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMemoryCreated(UserMemoryFact):
    name: ClassVar[str] = "user_memory.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMemoryDeleted(UserMemoryFact):
    name: ClassVar[str] = "user_memory.deleted"
