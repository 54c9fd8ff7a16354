from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Case, Q, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Left, Length

from apps.runs.models import OPEN, Run, Step

LONGEST_SHOWN = 8_000  # characters of a result
MOST_CALLS = 2_000

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from apps.core.actor import Actor


def active_run(actor: Actor, session_id: UUID) -> Run | None:
    """The session's run that has not ended, newest first, or None."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).order_by("-created_at").first()


def calls_of_runs(actor: Actor, run_ids: Collection[UUID]) -> list[dict[str, Any]]:
    """The tools that these runs called, each run's in order. One query, none for no runs.

    `content` is cut, `data` left out where it is longer than that: a tool may have read a book.
    """
    if not run_ids:
        return []
    steps = Step.objects.in_workspace(actor.workspace_id).filter(run_id__in=run_ids, kind="tool")
    text = KeyTextTransform("content", "output")
    told = steps.annotate(
        size=Length(text),
        content=Left(text, LONGEST_SHOWN),
        data=Case(When(size__lte=LONGEST_SHOWN, then=KeyTransform("data", "output"))),
        structured=Q(output__data__isnull=False) & ~Q(output__data=None),
    )
    wanted = ("run_id", "call_id", "name", "status", "input", "size", "content", "data")
    return list(told.order_by("run_id", "index").values(*wanted, "structured")[:MOST_CALLS])


def journal_of(workspace_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
    """What a resuming worker needs of the journal, in order."""
    steps = Step.objects.in_workspace(workspace_id).filter(run_id=run_id).order_by("index")
    return list(
        steps.values(
            "index",
            "kind",
            "name",
            "status",
            "call_id",
            "input",
            "output",
            "tokens_in",
            "tokens_out",
            "cost_micros",
            "started_at",
            "finished_at",
        )
    )
