from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.runs.errors import RunNotFound
from apps.runs.models import OPEN, Run, Step

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor


def get_run(actor: Actor, run_id: UUID) -> Run:
    """The run, or RunNotFound."""
    run: Run | None = Run.objects.in_workspace(actor.workspace_id).filter(pk=run_id).first()
    if run is None:
        raise RunNotFound
    return run


def list_runs(actor: Actor, *, session_id: UUID | None = None) -> QuerySet[Run]:
    """Newest first; page it."""
    runs = Run.objects.in_workspace(actor.workspace_id).order_by("-created_at", "-id")
    return runs.filter(session_id=session_id) if session_id else runs


def active_run(actor: Actor, session_id: UUID) -> Run | None:
    """The session's run that has not ended, newest first, or None."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).order_by("-created_at").first()


def list_steps(actor: Actor, run_id: UUID) -> QuerySet[Step]:
    """The journal of a run, in order."""
    return Step.objects.in_workspace(actor.workspace_id).filter(run_id=run_id).order_by("index")


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
