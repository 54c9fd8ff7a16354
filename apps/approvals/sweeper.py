"""Named sweeper over all workspaces: requests that nobody decided in time."""

from __future__ import annotations

from django.db.models.functions import Now

from apps.approvals.models import Approval, ApprovalStatus
from apps.approvals.services import expire
from apps.core.actor import Actor

BATCH = 200  # requests one sweep looks at


def expire_overdue(limit: int = BATCH) -> int:
    """Expire at most `limit` overdue requests, oldest first; how many it expired."""
    overdue = list(
        Approval.unscoped.filter(status=ApprovalStatus.PENDING, expires_at__lte=Now())
        .order_by("expires_at")
        .values_list("workspace_id", "id")[:limit]
    )
    return sum(expire(Actor.for_system(workspace_id), id_) for workspace_id, id_ in overdue)
