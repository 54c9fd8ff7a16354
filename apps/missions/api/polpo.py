"""Missions on the polpo surface (contract/polpo.md §3.3 and §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from apps.core.ids import parse_bare
from apps.missions import selectors, services
from apps.missions.api import editing, shapes
from apps.missions.models import MissionStatus
from apps.missions.wire import checkpoint_json, delay_json, mission_json
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView
from apps.tasks.wire import task_json

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class MissionBody(StrictSerializer):
    """What upstream's clients send; fields it does not know are ignored as there."""

    refuses_unknown = False

    data = serializers.JSONField(  # type: ignore[assignment]  # a field, not DRF's property
        help_text="The document: an object, or its JSON text."
    )
    name = serializers.CharField(required=False, max_length=200)
    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    status = serializers.ChoiceField(MissionStatus.values, required=False)
    endDate = serializers.DateTimeField(required=False, allow_null=True, source="end_date")
    notifications = serializers.DictField(required=False, allow_null=True)


class MissionChanges(MissionBody):
    refuses_unknown = False

    data = serializers.JSONField(required=False)


class ResumeBody(StrictSerializer):
    refuses_unknown = False

    retryFailed = serializers.BooleanField(required=False, default=False, source="retry_failed")


class MissionsView(PolpoView):
    takes = {"POST": MissionBody}
    gives = {"GET": shapes.Missions, "POST": {201: shapes.OneMission}}

    def get(self, request: Request, **_: str) -> Response:
        return self.ok([mission_json(row) for row in selectors.list_missions(self.actor)])

    def post(self, request: Request, **_: str) -> Response:
        mission = services.create_mission(self.actor, **MissionBody.read(request.data))
        return self.ok(mission_json(mission), status=201)


class ResumableView(PolpoView):
    gives = shapes.Missions

    def get(self, request: Request, **_: str) -> Response:
        return self.ok([mission_json(row) for row in selectors.list_resumable(self.actor)])


class MissionView(PolpoView):
    takes = {"PATCH": MissionChanges}
    gives = {"GET": shapes.OneMission, "PATCH": shapes.OneMission, "DELETE": shapes.Flag}

    def get(self, request: Request, mission_id: str, **_: str) -> Response:
        return self.ok(mission_json(selectors.get_mission(self.actor, parse_bare(mission_id))))

    def patch(self, request: Request, mission_id: str, **_: str) -> Response:
        changes = MissionChanges.read(request.data, partial=True)
        mission = services.update_mission(self.actor, parse_bare(mission_id), **changes)
        return self.ok(mission_json(mission))

    def delete(self, request: Request, mission_id: str, **_: str) -> Response:
        services.delete_mission(self.actor, parse_bare(mission_id))
        return self.ok({"deleted": True})


class ExecuteView(PolpoView):
    gives = shapes.Execution

    def post(self, request: Request, mission_id: str, **_: str) -> Response:
        tasks, group = services.execute_mission(self.actor, parse_bare(mission_id))
        return self.ok({"tasks": [task_json(task) for task in tasks], "group": group})


class ResumeView(PolpoView):
    takes = {"POST": ResumeBody}
    gives = shapes.Counts

    def post(self, request: Request, mission_id: str, **_: str) -> Response:
        asked = ResumeBody.read(request.data)
        retried, pending = services.resume_mission(self.actor, parse_bare(mission_id), **asked)
        return self.ok({"retried": retried, "pending": pending})


class AbortView(PolpoView):
    gives = shapes.Counts

    def post(self, request: Request, mission_id: str, **_: str) -> Response:
        return self.ok({"aborted": services.abort_mission(self.actor, parse_bare(mission_id))})


class CheckpointsView(PolpoView):
    gives = shapes.Entries

    def get(self, request: Request, **_: str) -> Response:
        return self.ok([checkpoint_json(row) for row in selectors.checkpoints_waiting(self.actor)])


class CheckpointView(PolpoView):
    gives = shapes.Flag

    def post(self, request: Request, mission_id: str, entry_name: str, **_: str) -> Response:
        services.resume_checkpoint(self.actor, parse_bare(mission_id), entry_name)
        return self.ok({"resumed": True})


class DelaysView(PolpoView):
    gives = shapes.Entries

    def get(self, request: Request, **_: str) -> Response:
        return self.ok([delay_json(row) for row in selectors.delays_running(self.actor)])


urlpatterns: list[Any] = [
    *on_projects("missions", MissionsView.as_view()),
    *on_projects("missions/resumable", ResumableView.as_view()),
    *on_projects("missions/checkpoints", CheckpointsView.as_view()),
    *on_projects("missions/delays", DelaysView.as_view()),
    *on_projects("missions/<str:mission_id>", MissionView.as_view()),
    *on_projects("missions/<str:mission_id>/execute", ExecuteView.as_view()),
    *on_projects("missions/<str:mission_id>/resume", ResumeView.as_view()),
    *on_projects("missions/<str:mission_id>/abort", AbortView.as_view()),
    *on_projects(
        "missions/<str:mission_id>/checkpoints/<path:entry_name>/resume", CheckpointView.as_view()
    ),
    *editing.urlpatterns,
]
