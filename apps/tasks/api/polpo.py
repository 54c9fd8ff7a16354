"""Projects, their state and their tasks on the polpo surface (contract/polpo.md §3.1-3.2 and §4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from apps.core.errors import InvalidInput, NotFound
from apps.core.ids import parse_bare
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView
from apps.tasks import board, selectors, services
from apps.tasks.api import approvals, shapes
from apps.tasks.listing import tasks_as_json
from apps.tasks.models import TaskStatus
from apps.tasks.wire import task_json

if TYPE_CHECKING:
    from uuid import UUID

    from django.urls import URLPattern
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.core.actor import Actor
    from apps.tasks.models import Task

FILTERS = [
    OpenApiParameter("status", str, description="One or more, separated by commas."),
    OpenApiParameter("group", str),
    OpenApiParameter("assignTo", str),
    OpenApiParameter("limit", int, description="The newest so many; 1-2000, default 2000."),
]
RESPOND_ASYNC = "respond-async"


class TaskId(serializers.CharField):
    """An id in a body: one that is none is the sender's mistake, as one that names nothing."""

    def to_internal_value(self, data: Any) -> UUID:  # type: ignore[override]  # a UUID from here on
        try:
            return parse_bare(data if isinstance(data, str) else "")
        except NotFound:
            raise serializers.ValidationError("There is no such task.") from None


class Ids(serializers.ListField):
    child = TaskId()


class TaskBody(StrictSerializer):
    """What upstream's clients send; fields it does not know are ignored as there."""

    refuses_unknown = False

    title = serializers.JSONField()
    description = serializers.JSONField()
    assignTo = serializers.JSONField(source="assign_to")
    expectations = serializers.JSONField(required=False)
    metrics = serializers.JSONField(required=False)
    expectedOutcomes = serializers.JSONField(required=False, source="expected_outcomes")
    dependsOn = Ids(required=False, source="depends_on")
    group = serializers.JSONField(required=False)
    maxDuration = serializers.JSONField(required=False, allow_null=True, source="max_duration")
    retryPolicy = serializers.JSONField(required=False, allow_null=True, source="retry_policy")
    notifications = serializers.JSONField(required=False, allow_null=True)
    sideEffects = serializers.JSONField(required=False, source="side_effects")
    priority = serializers.JSONField(required=False)
    deadline = serializers.JSONField(required=False, allow_null=True)
    draft = serializers.BooleanField(required=False, default=False)


class TaskChanges(StrictSerializer):
    refuses_unknown = False

    description = serializers.JSONField(required=False)
    assignTo = serializers.JSONField(required=False, source="assign_to")
    status = serializers.ChoiceField(TaskStatus.values, required=False)
    expectations = serializers.JSONField(required=False)
    metrics = serializers.JSONField(required=False)
    expectedOutcomes = serializers.JSONField(required=False, source="expected_outcomes")
    retries = serializers.JSONField(required=False)
    maxRetries = serializers.JSONField(required=False, source="max_retries")
    sideEffects = serializers.JSONField(required=False, source="side_effects")
    retryPolicy = serializers.JSONField(required=False, allow_null=True, source="retry_policy")
    maxDuration = serializers.JSONField(required=False, allow_null=True, source="max_duration")
    priority = serializers.JSONField(required=False)
    deadline = serializers.JSONField(required=False, allow_null=True)


class ProjectsView(PolpoView):
    """Above projects: what the key may see."""

    gives = shapes.Projects

    def workspace_of(self, caller: Any) -> None:
        return None

    def get(self, request: Request) -> Response:
        return self.ok(board.projects_json(self.caller))


class StateView(PolpoView):
    gives = shapes.State

    def get(self, request: Request, **_: str) -> Response:
        return self.ok(board.state_json(self.actor))


class ConfigView(PolpoView):
    gives = shapes.Config

    def get(self, request: Request, **_: str) -> Response:
        return self.ok(board.config_json(self.actor))


class TasksView(PolpoView):
    takes = {"POST": TaskBody}
    gives = {"GET": shapes.Tasks, "POST": {201: shapes.OneTask}, "DELETE": shapes.Deleted}

    @extend_schema(parameters=FILTERS)
    def get(self, request: Request, **_: str) -> HttpResponse:
        asked = self.admission.credentials.query
        listed = tasks_as_json(self.actor, **_filters(asked), limit=_limit(asked))
        return HttpResponse(b'{"ok":true,"data":' + listed + b"}", content_type="application/json")

    def post(self, request: Request, **_: str) -> Response:
        task = services.create_task(self.actor, **TaskBody.read(request.data))
        return self.ok(task_json(task), status=201)

    def delete(self, request: Request, **_: str) -> Response:
        asked = self.admission.credentials.query
        everything = asked.get("all") in {"true", "1"}
        gone = services.remove_tasks(self.actor, **_filters(asked), everything=everything)
        return self.ok({"deleted": gone})


class TaskView(PolpoView):
    takes = {"PATCH": TaskChanges}
    gives = {"GET": shapes.OneTask, "PATCH": shapes.OneTask, "DELETE": shapes.Flag}

    def get(self, request: Request, task_id: str, **_: str) -> Response:
        task = selectors.get_task(self.actor, parse_bare(task_id))
        return self.ok(whole(self.actor, task))

    def patch(self, request: Request, task_id: str, **_: str) -> Response:
        changes = TaskChanges.read(request.data)
        task = services.update_task(self.actor, parse_bare(task_id), **changes)
        return self.ok(whole(self.actor, task))

    def delete(self, request: Request, task_id: str, **_: str) -> Response:
        services.remove_task(self.actor, parse_bare(task_id))
        return self.ok({"removed": True})


class RetryView(PolpoView):
    gives = shapes.Flag

    def post(self, request: Request, task_id: str, **_: str) -> Response:
        services.retry_task(self.actor, parse_bare(task_id))
        return self.ok({"retried": True})


class KillView(PolpoView):
    gives = shapes.Flag

    def post(self, request: Request, task_id: str, **_: str) -> Response:
        services.kill_task(self.actor, parse_bare(task_id))
        return self.ok({"killed": True})


class QueueView(PolpoView):
    gives = shapes.Flag

    def post(self, request: Request, task_id: str, **_: str) -> Response:
        services.queue_task(self.actor, parse_bare(task_id))
        return self.ok({"queued": True})


class ForceFailView(PolpoView):
    gives = shapes.Flag

    def post(self, request: Request, task_id: str, **_: str) -> Response:
        services.force_fail_task(self.actor, parse_bare(task_id))
        return self.ok({"failed": True})


class ReassessView(PolpoView):
    """Answers when the judgement is there; 202 when that takes too long, and at once with
    `Prefer: respond-async`.
    """

    @extend_schema(responses={200: shapes.Flag, 202: shapes.Flag})
    def post(self, request: Request, task_id: str, **_: str) -> Response:
        found = parse_bare(task_id)
        run_id = services.reassess_task(self.actor, found)
        if RESPOND_ASYNC in self.admission.credentials.headers.get("prefer", ""):
            return self.ok({"reassessing": True}, status=202)
        if not services.await_review(self.actor, run_id):
            return self.ok({"reassessing": True}, status=202)
        return self.ok({"reassessed": True})


def whole(actor: Actor, task: Task) -> dict[str, Any]:
    """A task with all that was judged of it."""
    judged = selectors.assessments_of(actor, [task.pk]) if task.result else {}
    return task_json(task, judged.get(task.pk, ()))


def _filters(asked: Any) -> dict[str, Any]:
    statuses = [word for word in asked.get("status", "").split(",") if word]
    if unknown := [word for word in statuses if word not in TaskStatus.values]:
        raise InvalidInput(
            f"status: {unknown[0][:40]} is none.", fields={"status": ["Unknown status."]}
        )
    # An empty one is none, as upstream: `?group=` of a client that has none may not mean all without.
    group, assign_to = asked.get("group") or None, asked.get("assignTo") or None
    return {"statuses": statuses, "group": group, "assign_to": assign_to}


def _limit(asked: Any) -> int:
    text = asked.get("limit", str(selectors.MOST_LISTED))
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= selectors.MOST_LISTED:
        raise InvalidInput(fields={"limit": [f"A number from 1 to {selectors.MOST_LISTED}."]})
    return int(text)


urlpatterns: list[URLPattern] = [
    path("api/v1/projects", ProjectsView.as_view()),
    *on_projects("state", StateView.as_view()),
    *on_projects("orchestrator-config", ConfigView.as_view()),
    *on_projects("config", ConfigView.as_view()),
    *on_projects("tasks", TasksView.as_view()),
    *on_projects("tasks/<str:task_id>", TaskView.as_view()),
    *on_projects("tasks/<str:task_id>/retry", RetryView.as_view()),
    *on_projects("tasks/<str:task_id>/kill", KillView.as_view()),
    *on_projects("tasks/<str:task_id>/queue", QueueView.as_view()),
    *on_projects("tasks/<str:task_id>/force-fail", ForceFailView.as_view()),
    *on_projects("tasks/<str:task_id>/reassess", ReassessView.as_view()),
    *approvals.urlpatterns,
]
