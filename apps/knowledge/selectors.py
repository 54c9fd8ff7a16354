"""Reading memories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from apps.core.actor import Scope
from apps.formations.selectors import get_agent
from apps.knowledge.models import Memory, MemoryScope, UserMemory
from apps.knowledge.prompt import forget_context, prompt_context

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor

__all__ = [
    "forget_context",
    "list_memories",
    "list_user_memories",
    "prompt_context",
    "read_memory",
]


def list_memories(actor: Actor, *, agent_id: UUID | None = None) -> QuerySet[Memory]:
    """The shared memories, or those of one agent (NotFound when it is absent or foreign)."""
    actor.need(Scope.READ)
    if agent_id is not None:
        get_agent(actor, agent_id)
    rows: QuerySet[Memory] = Memory.objects.in_workspace(actor.workspace_id)
    mine = (
        rows.filter(agent_id__isnull=True) if agent_id is None else rows.filter(agent_id=agent_id)
    )
    return mine.order_by("key")


def read_memory(actor: Actor, key: str = "notes", *, agent_id: UUID | None = None) -> str | None:
    """The text under `key`; None when nothing was ever written there."""
    content: str | None = (
        list_memories(actor, agent_id=agent_id)
        .filter(key=key)
        .values_list("content", flat=True)
        .first()
    )
    return content


def list_user_memories(
    actor: Actor, end_user: str, *, scopes: Collection[str] = tuple(MemoryScope)
) -> QuerySet[UserMemory]:
    """What `end_user` may read, newest first: their own, and what is the whole formation's.

    The caller pages.
    """
    actor.need(Scope.READ)
    readable = Q(end_user=end_user, scope__in=scopes)
    if MemoryScope.FORMATION in scopes:
        readable |= Q(scope=MemoryScope.FORMATION)
    rows: QuerySet[UserMemory] = UserMemory.objects.in_workspace(actor.workspace_id)
    return rows.filter(readable).order_by("-created_at", "-id")
