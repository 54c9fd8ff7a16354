"""Reading requests and decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.approvals.errors import ApprovalNotFound
from apps.approvals.models import Approval, ApprovalStatus
from apps.core.actor import Scope
from apps.core.errors import InvalidInput

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor


def get_approval(actor: Actor, approval_id: UUID) -> Approval:
    """The request; ApprovalNotFound when absent or foreign."""
    actor.need(Scope.READ)
    approval: Approval | None = (
        Approval.objects.in_workspace(actor.workspace_id).filter(id=approval_id).first()
    )
    if approval is None:
        raise ApprovalNotFound
    return approval


def was_decided(actor: Actor, approval_id: UUID) -> bool:
    """Is this request's waiting over: decided, expired or withdrawn?"""
    actor.need(Scope.READ)
    known = Approval.objects.in_workspace(actor.workspace_id).filter(id=approval_id)
    return known.exclude(status=ApprovalStatus.PENDING).exists()


def list_approvals(actor: Actor, *, status: str | None = None) -> QuerySet[Approval]:
    """Newest first; InvalidInput for an unknown status. The caller pages."""
    actor.need(Scope.READ)
    rows: QuerySet[Approval] = Approval.objects.in_workspace(actor.workspace_id)
    if status is None:
        return rows
    if status not in ApprovalStatus.values:
        raise InvalidInput(
            fields={"status": [f"Must be one of {', '.join(ApprovalStatus.values)}."]}
        )
    return rows.filter(status=status)


def pending_approvals(actor: Actor) -> QuerySet[Approval]:
    """What waits for a human here, newest first. Reading decides nothing."""
    return list_approvals(actor, status=ApprovalStatus.PENDING)


def latest_for_call(actor: Actor, binding: str) -> Approval | None:
    """The newest request for exactly this call, whatever its status."""
    rows = Approval.objects.in_workspace(actor.workspace_id).filter(binding=binding)
    found: Approval | None = rows.order_by("-created_at", "-id").first()
    return found
