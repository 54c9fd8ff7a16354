"""Edits of a mission's document and its schedule on the polpo surface (contract/polpo.md §4, §7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rest_framework import serializers

from apps.core.errors import InvalidInput
from apps.core.ids import parse_bare
from apps.missions import selectors, services
from apps.missions.api import shapes
from apps.missions.wire import mission_json, schedule_json
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class Titles(StrictSerializer):
    titles = serializers.ListField(child=serializers.CharField(trim_whitespace=False))


class NotificationsBody(StrictSerializer):
    notifications = serializers.JSONField(allow_null=True)


class ScheduleChanges(StrictSerializer):
    refuses_unknown = False

    expression = serializers.CharField(required=False, max_length=200)
    recurring = serializers.BooleanField(required=False)
    endDate = serializers.DateTimeField(required=False, allow_null=True, source="end_date")
    enabled = serializers.BooleanField(required=False)


class ScheduleBody(StrictSerializer):
    refuses_unknown = False

    missionId = serializers.CharField(max_length=40, source="mission_id")
    expression = serializers.CharField(max_length=200)
    recurring = serializers.BooleanField(required=False, default=False)
    endDate = serializers.DateTimeField(required=False, allow_null=True, source="end_date")


class EntriesView(PolpoView):
    """A part of the document; the entry is as the document has it (contract §7.2)."""

    part: ClassVar[str] = ""
    gives = {"POST": {201: shapes.OneMission}}

    def post(self, request: Request, mission_id: str, **_: str) -> Response:
        entry = _object(request.data)
        mission = services.add_entry(self.actor, parse_bare(mission_id), self.part, entry)
        return self.ok(mission_json(mission), status=201)


class EntryView(PolpoView):
    part: ClassVar[str] = ""
    gives = shapes.OneMission

    def patch(self, request: Request, mission_id: str, entry_name: str, **_: str) -> Response:
        changes, found = _object(request.data), parse_bare(mission_id)
        mission = services.change_entry(self.actor, found, self.part, entry_name, changes)
        return self.ok(mission_json(mission))

    def delete(self, request: Request, mission_id: str, entry_name: str, **_: str) -> Response:
        mission = services.remove_entry(self.actor, parse_bare(mission_id), self.part, entry_name)
        return self.ok(mission_json(mission))


class ReorderView(PolpoView):
    takes = Titles
    gives = shapes.OneMission

    def put(self, request: Request, mission_id: str, **_: str) -> Response:
        titles = Titles.read(request.data)["titles"]
        mission = services.reorder_tasks(self.actor, parse_bare(mission_id), titles)
        return self.ok(mission_json(mission))


class NotificationsView(PolpoView):
    takes = NotificationsBody
    gives = shapes.OneMission

    def put(self, request: Request, mission_id: str, **_: str) -> Response:
        body = NotificationsBody.read(request.data)
        mission = services.set_notifications(self.actor, parse_bare(mission_id), **body)
        return self.ok(mission_json(mission))


class SchedulesView(PolpoView):
    takes = {"POST": ScheduleBody}
    gives = {"GET": shapes.Schedules, "POST": {201: shapes.OneSchedule}}

    def get(self, request: Request, **_: str) -> Response:
        return self.ok([schedule_json(row) for row in selectors.mission_schedules(self.actor)])

    def post(self, request: Request, **_: str) -> Response:
        body = ScheduleBody.read(request.data)
        mission_id = parse_bare(body.pop("mission_id"))
        schedule = services.schedule_mission(self.actor, mission_id, **body)
        return self.ok(schedule_json(schedule), status=201)


class ScheduleView(PolpoView):
    takes = {"PATCH": ScheduleChanges}
    gives = {"PATCH": shapes.OneSchedule, "DELETE": shapes.Flag}

    def patch(self, request: Request, mission_id: str, **_: str) -> Response:
        changes = ScheduleChanges.read(request.data, partial=True)
        schedule = services.reschedule_mission(self.actor, parse_bare(mission_id), **changes)
        return self.ok(schedule_json(schedule))

    def delete(self, request: Request, mission_id: str, **_: str) -> Response:
        services.unschedule_mission(self.actor, parse_bare(mission_id))
        return self.ok({"deleted": True})


def _object(body: Any) -> dict[str, Any]:
    """What the document's own reader looks at further."""
    if not isinstance(body, dict):
        raise InvalidInput("The body must be an object.", fields={"body": ["Must be an object."]})
    return body


def _entries(part: str) -> list[Any]:
    """A name may hold a slash: a server decodes %2F before we see it."""
    here = f"missions/<str:mission_id>/{part}"
    return [
        *on_projects(here, EntriesView.as_view(part=part)),
        *on_projects(f"{here}/<path:entry_name>", EntryView.as_view(part=part)),
    ]


urlpatterns: list[Any] = [
    *on_projects("schedules", SchedulesView.as_view()),
    *on_projects("schedules/<str:mission_id>", ScheduleView.as_view()),
    *on_projects("missions/<str:mission_id>/tasks/reorder", ReorderView.as_view()),
    *on_projects("missions/<str:mission_id>/notifications", NotificationsView.as_view()),
    *_entries("tasks"),
    *_entries("checkpoints"),
    *_entries("delays"),
    *_entries("quality-gates"),
    *_entries("team"),
]
