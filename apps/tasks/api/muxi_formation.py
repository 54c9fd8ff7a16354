"""Scheduled jobs of a formation (contract/muxi.md §5.9): prompts on the one scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.core.clock import rfc3339
from apps.core.errors import NotFound
from apps.core.ids import parse_id, wire_id
from apps.core.reading import read_instant
from apps.formations.api.formation_view import FormationView
from apps.formations.api.muxi_shapes import answer_of
from apps.formations.end_users import SINGLE
from apps.surfaces.parsing import StrictSerializer
from apps.tasks.errors import JobNotFound
from apps.tasks.selectors import get_job, list_jobs
from apps.tasks.services import prompts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.tasks.selectors import Job


class CreatingJob(StrictSerializer):
    refuses_unknown = False
    type = serializers.CharField(allow_blank=True)
    schedule = serializers.CharField(allow_blank=True, max_length=200)
    message = serializers.CharField(max_length=prompts.LONGEST_PROMPT)
    title = serializers.CharField(
        required=False, allow_blank=True, allow_null=True, max_length=prompts.LONGEST_TITLE
    )
    job_metadata = serializers.DictField(required=False, allow_null=True)
    user_id = serializers.CharField(required=False, allow_null=True, allow_blank=True)


class ChangingJob(StrictSerializer):
    refuses_unknown = False
    schedule = serializers.CharField(required=False, allow_blank=True, max_length=200)
    message = serializers.CharField(required=False, max_length=prompts.LONGEST_PROMPT)
    title = serializers.CharField(
        required=False, allow_blank=True, max_length=prompts.LONGEST_TITLE
    )


class JobShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    user_id = serializers.CharField()
    title = serializers.CharField(allow_blank=True)
    original_prompt = serializers.CharField()
    execution_prompt = serializers.CharField()
    is_recurring = serializers.BooleanField()
    cron_expression = serializers.CharField(allow_null=True)
    scheduled_for = serializers.DateTimeField(allow_null=True)
    exclusion_rules = serializers.ListField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    last_run_at = serializers.DateTimeField(allow_null=True)
    last_run_status = serializers.CharField(allow_null=True)
    last_run_failure_message = serializers.CharField(allow_null=True)
    total_runs = serializers.IntegerField()
    total_failures = serializers.IntegerField()
    consecutive_failures = serializers.IntegerField()
    job_metadata = serializers.DictField()


class JobsListed(serializers.Serializer[Any]):
    jobs = JobShown(many=True)
    count = serializers.IntegerField()


class JobSwitched(serializers.Serializer[Any]):
    id = serializers.CharField()
    status = serializers.CharField()


class JobDeleted(serializers.Serializer[Any]):
    id = serializers.CharField()
    deleted = serializers.BooleanField()


class JobsView(FormationView):
    """The admin key for everybody's jobs or a user's, the client key for its user's (C15)."""

    idempotent_methods = frozenset({"POST"})
    takes = {"POST": CreatingJob}
    gives = {"GET": answer_of(JobsListed), "POST": {201: answer_of(JobShown)}}

    def get(self, request: Request, **_: Any) -> Response:
        jobs = [_job(job) for job in list_jobs(self.actor, end_user=self.whose())]
        data = {"jobs": jobs, "count": len(jobs)}
        return self.enveloped("scheduled_job_list", "scheduler.jobs.list", data)

    def post(self, request: Request, **_: Any) -> Response:
        body = CreatingJob.read(request.data)
        user = self.whose(body)
        job = prompts.create_job(self.actor, user or SINGLE, **_asked(body, self.zone))
        return self.enveloped("scheduled_job", "scheduler.job.created", _job(job), 201)

    @property
    def zone(self) -> str:
        """`scheduler.timezone` of the formation's file."""
        block = self.running.config.get("scheduler")
        return str(block.get("timezone") or "UTC") if isinstance(block, dict) else "UTC"


class JobView(FormationView):
    takes = {"PUT": ChangingJob}
    gives = {
        "GET": answer_of(JobShown),
        "PUT": answer_of(JobShown),
        "DELETE": answer_of(JobDeleted),
    }

    def get(self, request: Request, job_id: str, **_: Any) -> Response:
        job = get_job(self.actor, _pk(job_id), end_user=self.whose())
        return self.enveloped("scheduled_job", "scheduler.job.retrieved", _job(job))

    def put(self, request: Request, job_id: str, **_: Any) -> Response:
        changes = ChangingJob.read(request.data)
        job = prompts.change_job(self.actor, _pk(job_id), end_user=self.whose(), **changes)
        return self.enveloped("scheduled_job", "scheduler.job.updated", _job(job))

    def delete(self, request: Request, job_id: str, **_: Any) -> Response:
        prompts.remove_job(self.actor, _pk(job_id), end_user=self.whose())
        data = {"id": job_id, "deleted": True}
        return self.enveloped("scheduled_job", "scheduler.job.deleted", data)


class PauseView(FormationView):
    """A job that is not active is not found (contract §5.9)."""

    gives = answer_of(JobSwitched)
    on, type_name = False, "scheduler.job.paused"

    def post(self, request: Request, job_id: str, **_: Any) -> Response:
        job = prompts.switch_job(self.actor, _pk(job_id), on=self.on, end_user=self.whose())
        return self.enveloped("scheduled_job", self.type_name, {"id": job_id, "status": job.status})


class ResumeView(PauseView):
    """A job that is not paused is not found."""

    on, type_name = True, "scheduler.job.resumed"


def _pk(job_id: str) -> UUID:
    try:
        return parse_id("job", job_id)
    except NotFound:
        raise JobNotFound from None


def _asked(body: Mapping[str, Any], zone: str) -> dict[str, Any]:
    return {
        "kind": body["type"],
        "schedule": body["schedule"],
        "message": body["message"],
        "title": body.get("title") or "",
        "metadata": body.get("job_metadata"),
        "zone": zone,
    }


def _job(job: Job) -> dict[str, Any]:
    row, schedule = job
    told = schedule.expression
    return {
        "id": wire_id("job", row.pk),
        "user_id": row.end_user,
        "title": row.title,
        "original_prompt": row.prompt,
        "execution_prompt": row.prompt,
        "is_recurring": schedule.recurring,
        "cron_expression": told if schedule.recurring else None,
        "scheduled_for": None if schedule.recurring else rfc3339(read_instant(told)),
        "exclusion_rules": [],
        "status": job.status,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(max(row.updated_at, schedule.updated_at)),
        "last_run_at": rfc3339(row.last_run_at),
        "last_run_status": row.last_run_status or None,
        "last_run_failure_message": row.last_failure or schedule.last_error or None,
        "total_runs": row.total_runs,
        "total_failures": row.total_failures,
        "consecutive_failures": row.consecutive_failures,
        "job_metadata": row.metadata,
    }


urlpatterns = [
    path("v1/scheduler/jobs", JobsView.as_view()),
    path("v1/scheduler/jobs/<str:job_id>", JobView.as_view()),
    path("v1/scheduler/jobs/<str:job_id>/pause", PauseView.as_view()),
    path("v1/scheduler/jobs/<str:job_id>/resume", ResumeView.as_view()),
]
