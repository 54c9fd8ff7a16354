"""Prompts on a schedule: the jobs of a formation's users (contract/muxi.md §5.9)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core import cron
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.rows import insert
from apps.events.services import publish
from apps.tasks.errors import JobNotFound, ScheduleRefused, TooManyJobs
from apps.tasks.models import Schedule, ScheduledPrompt
from apps.tasks.selectors import SUBJECT, Job, get_job
from apps.tasks.services.scheduling import (
    change_schedule,
    remove_schedule,
    set_schedule,
    switch_schedule,
)

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact

MOST_JOBS = 500  # of a workspace
MOST_OF_A_USER = 100
LONGEST_PROMPT = 100_000  # characters, as a message
LONGEST_TITLE = 500
LONGEST_METADATA = 16 * 1024  # bytes of JSON
KINDS = ("one_time", "recurring")
WANTED = {
    "one_time": "a moment to come, such as 2027-05-01T09:00:00Z",
    "recurring": "a cron expression of five fields, such as 0 9 * * 1-5",
    "": "a cron expression of five fields, or a moment to come",
}


@dataclass(frozen=True, slots=True)
class _When:
    expression: str
    recurring: bool


@transaction.atomic
def create_job(
    actor: Actor,
    end_user: str,
    *,
    kind: str,
    schedule: str,
    message: str,
    title: str = "",
    metadata: dict[str, Any] | None = None,
    zone: str = "",
) -> Job:
    """Say `message` for `end_user` when `schedule` is due. `kind`: one of `KINDS`.

    Raises InvalidInput, ScheduleRefused, TooManyJobs.
    """
    actor.need(Scope.WRITE)
    if kind not in KINDS:
        raise InvalidInput(f"type: use one of {', '.join(KINDS)}.")
    when = _read(schedule, kind)
    job = ScheduledPrompt(workspace_id=actor.workspace_id, end_user=end_user, prompt=message)
    job.title, job.metadata = title or " ".join(message.split())[:80], metadata or {}
    _check(job)
    _need_place(actor, end_user)
    insert(job)
    made, facts = _put(actor, job, schedule, when, zone)
    record_change(actor, "scheduler_job.created", "scheduler_job", job.pk, after=_shown(job, made))
    publish(actor, *facts)
    return Job(job, made)


@transaction.atomic
def change_job(
    actor: Actor,
    job_id: UUID,
    *,
    end_user: str | None = None,
    message: str | None = None,
    schedule: str | None = None,
    title: str | None = None,
) -> Job:
    """Change what is given; a job that has ended goes on with its new schedule, a paused one rests.

    `end_user`: whose it must be. Raises JobNotFound, InvalidInput, ScheduleRefused.
    """
    job, made = lock_job(actor, job_id, end_user)
    before = _shown(job, made)
    job.prompt = job.prompt if message is None else message
    job.title = job.title if title is None else title
    _check(job)
    job.save(update_fields=["prompt", "title", "updated_at"])
    facts: list[Fact] = []
    if schedule is not None:
        made, facts = _move(actor, job, made, schedule)
    record_change(
        actor,
        "scheduler_job.updated",
        "scheduler_job",
        job.pk,
        before=before,
        after=_shown(job, made),
    )
    if facts:
        publish(actor, *facts)
    return Job(job, made)


@transaction.atomic
def remove_job(actor: Actor, job_id: UUID, *, end_user: str | None = None) -> None:
    """A turn under way goes on. Raises JobNotFound."""
    job, made = lock_job(actor, job_id, end_user)
    before = _shown(job, made)
    remove_schedule(actor, SUBJECT, job.pk)
    ScheduledPrompt.objects.in_workspace(actor.workspace_id).filter(pk=job.pk).delete()
    record_change(actor, "scheduler_job.deleted", "scheduler_job", job_id, before=before)


@transaction.atomic
def switch_job(actor: Actor, job_id: UUID, *, on: bool, end_user: str | None = None) -> Job:
    """Pause an active job, or let a paused one go on; one that is not so is JobNotFound.

    Raises ScheduleRefused for a moment that has passed meanwhile.
    """
    job, made = lock_job(actor, job_id, end_user)
    if Job(job, made).status != ("PAUSED" if on else "ACTIVE"):
        raise JobNotFound
    if on:
        job.consecutive_failures = 0
        job.save(update_fields=["consecutive_failures", "updated_at"])
    try:
        made = switch_schedule(actor, made.pk, enabled=on)
    except InvalidInput as error:
        raise _refused(made.expression, "", error) from None
    return Job(job, made)


def lock_job(actor: Actor, job_id: UUID, end_user: str | None = None) -> Job:
    """The job's row locked, then its schedule's: in this order, as the tick does. Raises JobNotFound."""
    actor.need(Scope.WRITE)
    get_job(actor, job_id, end_user=end_user)
    rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id).select_for_update()
    prompt = rows.filter(pk=job_id).first()
    schedules = Schedule.objects.in_workspace(actor.workspace_id).select_for_update()
    schedule = schedules.filter(subject_type=SUBJECT, subject_id=job_id).first()
    if prompt is None or schedule is None:
        raise JobNotFound
    return Job(prompt, schedule)


def _need_place(actor: Actor, end_user: str) -> None:
    rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id)
    if rows.filter(end_user=end_user).count() >= MOST_OF_A_USER or rows.count() >= MOST_JOBS:
        raise TooManyJobs


def _move(
    actor: Actor, job: ScheduledPrompt, old: Schedule, text: str
) -> tuple[Schedule, list[Fact]]:
    when = _read(text, "")
    paused = Job(job, old).status == "PAUSED"
    changes = {"expression": when.expression, "recurring": when.recurring}
    try:
        return change_schedule(actor, SUBJECT, job.pk, enabled=not paused, zone=old.zone, **changes)
    except InvalidInput as error:
        raise _refused(text, "", error) from None


def _put(
    actor: Actor, job: ScheduledPrompt, text: str, when: _When, zone: str
) -> tuple[Schedule, list[Fact]]:
    try:
        return set_schedule(
            actor,
            SUBJECT,
            job.pk,
            expression=when.expression,
            recurring=when.recurring,
            zone=zone,
        )
    except InvalidInput as error:
        raise _refused(text, "recurring" if when.recurring else "one_time", error) from None


def _read(text: str, kind: str) -> _When:
    """A cron expression of five to seven fields, or a moment; `kind` says which it must be."""
    try:
        kept = cron.in_minutes(text)
        when = cron.parse_when(kept)
    except cron.CronInvalid as error:
        raise _refused(text, kind, error) from None
    recurring = isinstance(when, cron.Cron)
    if kind and recurring != (kind == "recurring"):
        raise _refused(text, kind, ValueError(f"A {kind} job needs {WANTED[kind]}."))
    return _When(kept, recurring)


def _refused(text: str, kind: str, error: Exception) -> ScheduleRefused:
    words = str(error)
    return ScheduleRefused(
        f"schedule: {words}",
        field="schedule",
        value=text[:200],
        expected=WANTED[kind],
        error=words,
    )


def _check(job: ScheduledPrompt) -> None:
    if not job.prompt.strip() or len(job.prompt) > LONGEST_PROMPT:
        raise InvalidInput(fields={"message": [f"1 to {LONGEST_PROMPT} characters."]})
    if len(job.title) > LONGEST_TITLE:
        raise InvalidInput(fields={"title": [f"At most {LONGEST_TITLE} characters."]})
    if len(json.dumps(job.metadata)) > LONGEST_METADATA:
        raise InvalidInput(fields={"metadata": [f"At most {LONGEST_METADATA} bytes of JSON."]})


def _shown(job: ScheduledPrompt, schedule: Schedule) -> dict[str, Any]:
    return {
        "end_user": job.end_user,
        "title": job.title,
        "schedule": schedule.expression,
        "enabled": schedule.enabled,
    }
