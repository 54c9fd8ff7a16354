"""Requests to humans on the polpo surface (contract/polpo.md §4 and §18): it knows them by their task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from apps.approvals.selectors import get_approval, list_approvals
from apps.approvals.services import decide
from apps.core.errors import InvalidInput, NotFound
from apps.core.ids import parse_bare
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView
from apps.tasks.api import shapes
from apps.tasks.selectors import approvals_about, tasks_behind
from apps.tasks.wire import DECISIONS, approval_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.approvals.models import Approval
    from apps.core.actor import Actor

MOST_LISTED = 500
FILTERS = [
    OpenApiParameter("status", str, enum=list(DECISIONS)),
    OpenApiParameter("taskId", str),
]


class ApproveBody(StrictSerializer):
    """`resolvedBy` is not asked: who decides is whose credential it is."""

    refuses_unknown = False

    note = serializers.CharField(required=False, allow_blank=True, max_length=1_000, default="")


class RejectBody(StrictSerializer):
    refuses_unknown = False

    feedback = serializers.CharField(max_length=1_000)


class ApprovalsView(PolpoView):
    gives = shapes.Approvals

    @extend_schema(parameters=FILTERS)
    def get(self, request: Request, **_: str) -> Response:
        return self.ok(_shown(self.actor, _listed(self.actor, self.admission.credentials.query)))


class ApprovalView(PolpoView):
    gives = shapes.OneApproval

    def get(self, request: Request, approval_id: str, **_: str) -> Response:
        found = get_approval(self.actor, parse_bare(approval_id))
        return self.ok(_shown(self.actor, [found])[0])


class ApproveView(PolpoView):
    takes = ApproveBody
    gives = shapes.OneApproval

    def post(self, request: Request, approval_id: str, **_: str) -> Response:
        """A question is answered by the note."""
        asked = get_approval(self.actor, parse_bare(approval_id))
        note = ApproveBody.read(request.data)["note"]
        answer = note or None if asked.kind == "question" else None
        decided = decide(self.actor, asked.pk, decision="approve", note=note, answer=answer)
        return self.ok(_shown(self.actor, [decided])[0])


class RejectView(PolpoView):
    takes = RejectBody
    gives = shapes.OneApproval

    def post(self, request: Request, approval_id: str, **_: str) -> Response:
        asked = get_approval(self.actor, parse_bare(approval_id))
        feedback = RejectBody.read(request.data)["feedback"]
        decided = decide(self.actor, asked.pk, decision="reject", note=feedback)
        return self.ok(_shown(self.actor, [decided])[0])


def _listed(actor: Actor, asked: Any) -> list[Approval]:
    rows = list_approvals(actor)
    if status := asked.get("status"):
        if status not in DECISIONS:
            words = f"Must be one of {', '.join(DECISIONS)}."
            raise InvalidInput(f"status: {words}", fields={"status": [words]})
        rows = rows.filter(status__in=DECISIONS[status])
    if task_id := asked.get("taskId"):
        try:
            rows = rows.filter(approvals_about(actor, parse_bare(task_id)))
        except NotFound:  # an id that is none has no requests either
            return []
    return list(rows[:MOST_LISTED])


def _shown(actor: Actor, rows: Sequence[Approval]) -> list[dict[str, Any]]:
    tasks = tasks_behind(actor, rows)
    return [approval_json(row, tasks.get(row.pk)) for row in rows]


urlpatterns: list[Any] = [
    *on_projects("approvals", ApprovalsView.as_view()),
    *on_projects("approvals/<str:approval_id>", ApprovalView.as_view()),
    *on_projects("approvals/<str:approval_id>/approve", ApproveView.as_view()),
    *on_projects("approvals/<str:approval_id>/reject", RejectView.as_view()),
]
