"""What a formation's conversations amount to, for its status (contract/muxi.md §5.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Sum
from django.db.models.functions import Length

from apps.conversations.models import Message
from apps.core.actor import Scope
from apps.runs.selectors import count_runs

if TYPE_CHECKING:
    from apps.core.actor import Actor

MOST_MESSAGES = 10_000  # looked at, the newest


@dataclass(frozen=True, slots=True)
class Figures:
    """Runs of all kinds, and those that have not ended; messages at hand, and the characters in them."""

    requests: int
    active: int
    messages: int
    characters: int


def figures_of(actor: Actor) -> Figures:
    """Three queries, each bounded: counts stop where counting would become work."""
    actor.need(Scope.READ)
    total, active = count_runs(actor)
    rows = Message.objects.in_workspace(actor.workspace_id)
    newest = rows.filter(session__deleted_at=None).order_by("-id")[:MOST_MESSAGES]
    said = newest.aggregate(messages=Count("id"), characters=Sum(Length("content")))
    return Figures(total, active, said["messages"], said["characters"] or 0)
