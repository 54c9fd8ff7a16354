from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.approvals.events import ApprovalFact
    from apps.core.actor import Actor


class RunsConfig(AppConfig):
    name = "apps.runs"
    label = "runs"

    def ready(self) -> None:
        from apps.approvals.events import ApprovalDecided, ApprovalExpired, ApprovalWithdrawn
        from apps.events.services import subscribe

        for fact in (ApprovalDecided, ApprovalExpired, ApprovalWithdrawn):
            subscribe(fact, _wake)


def _wake(actor: Actor, fact: ApprovalFact) -> None:
    """A decision, or its absence, lets the run that waited for it go on."""
    from apps.runs.services import wake_run

    if fact.run_id is not None:
        wake_run(actor, fact.run_id)
