from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.approvals.events import ApprovalFact
    from apps.approvals.models import Approval
    from apps.core.actor import Actor


class RunsConfig(AppConfig):
    name = "apps.runs"
    label = "runs"

    def ready(self) -> None:
        from apps.approvals.events import ApprovalDecided, ApprovalExpired, ApprovalWithdrawn
        from apps.approvals.services import lock_with
        from apps.events.services import subscribe
        from apps.runs.logs import register_logs

        register_logs()
        lock_with(_lock_subject)
        for fact in (ApprovalDecided, ApprovalExpired, ApprovalWithdrawn):
            subscribe(fact, _wake)


def _lock_subject(approval: Approval) -> None:
    """Before a request is decided: the run it is about, and what stands above that."""
    from apps.runs.services import lock_run

    if approval.subject_type == "run" and approval.subject_id is not None:
        lock_run(approval.workspace_id, approval.subject_id)


def _wake(actor: Actor, fact: ApprovalFact) -> None:
    """A decision, or its absence, lets the run that waited for it go on."""
    from apps.runs.services import wake_run

    if fact.run_id is not None:
        wake_run(actor, fact.run_id)
