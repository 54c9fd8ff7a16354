from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.runs.models import OPEN, Run, Step

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor


def active_run(actor: Actor, session_id: UUID) -> Run | None:
    """The session's run that has not ended, newest first, or None."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).order_by("-created_at").first()


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
