"""Prompts on a schedule: what a firing does, and what the end of its turn means (contract/muxi.md §5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.conversations.services.later import ask_later
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.ids import wire_id
from apps.core.rows import execute
from apps.events.services import publish
from apps.formations.registry import RUNNING, running
from apps.runs.models import OPEN, Run
from apps.tasks.errors import JobUnderWay, SchedulerOff
from apps.tasks.models import ScheduledPrompt
from apps.tasks.selectors import SUBJECT
from apps.tasks.services.prompts import lock_job
from apps.tasks.services.scheduling import rest_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.core.facts import Fact
    from apps.runs.events import RunEnded
    from apps.tasks.models import Schedule

MOST_FAILURES = 3  # in a row before a job is paused, where the formation does not say
# By hand: it stands behind the end of every turn.
_WHOSE = """SELECT id FROM tasks_scheduledprompt
 WHERE workspace_id = %s AND last_run_id = %s AND last_run_status = 'running' FOR UPDATE"""


class ScheduledPrompts:
    """`tasks.schedules.Due`: when its time comes, a prompt is said, and a turn answers it."""

    def lock(self, actor: Actor, schedule: Schedule) -> None:
        rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id).select_for_update()
        rows.filter(pk=schedule.subject_id).first()

    def fire(self, actor: Actor, schedule: Schedule) -> list[Fact]:
        """Raises JobUnderWay while the last turn has not ended: this firing is left out."""
        job = lock_job(actor, schedule.subject_id).prompt
        _refuse(actor, job)
        asked = ask_later(
            actor,
            end_user=job.end_user,
            said=job.prompt,
            name=f"{wire_id('job', job.pk)}_{job.total_runs + 1}",
            key=wire_id("job", job.pk),
            title=job.title,
        )
        job.last_run_id, job.last_run_at, job.last_run_status = asked.run_id, now(), "running"
        job.last_failure = ""
        job.total_runs += 1
        job.save()
        return []

    def expired(self, actor: Actor, schedule: Schedule) -> list[Fact]:
        """Jobs have no end date."""
        return []


def settle_turn(actor: Actor, fact: RunEnded) -> None:
    """The turn of a firing has ended: it counts, and a job that fails again and again is paused."""
    found = execute(_WHOSE, [actor.workspace_id, fact.run_id]) if fact.kind == "chat" else []
    for (job_id,) in found:
        job = ScheduledPrompt.objects.in_workspace(actor.workspace_id).get(pk=job_id)
        failed = fact.status == "failed"
        job.last_run_status = fact.status
        job.last_failure = fact.error_message[:500] if failed else ""
        job.total_failures += failed
        if fact.status != "cancelled":
            job.consecutive_failures = job.consecutive_failures + 1 if failed else 0
        job.save()
        if failed and job.consecutive_failures >= _most_failures(actor):
            _rest(Actor.for_system(actor.workspace_id), job)


def adopt_jobs(actor: Actor, identifier: str, muxi_user_id: str) -> None:
    """The jobs made under another name of an end user are theirs."""
    rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id)
    rows.filter(end_user=identifier).update(end_user=muxi_user_id)


def _refuse(actor: Actor, job: ScheduledPrompt) -> None:
    if _settings(actor).get("enabled") is False:
        raise SchedulerOff
    turns = Run.objects.in_workspace(actor.workspace_id).filter(pk=job.last_run_id)
    if turns.filter(status__in=OPEN).exists():
        raise JobUnderWay


def _most_failures(actor: Actor) -> int:
    said = _settings(actor).get("max_failures_before_pause")
    return said if isinstance(said, int) and said > 0 else MOST_FAILURES


def _settings(actor: Actor) -> Mapping[str, Any]:
    """The `scheduler` block of the formation's file; nothing where there is no formation.

    Raises SchedulerOff for a formation that does not run.
    """
    try:
        found = running(actor.workspace_id)
    except NotFound:
        return {}
    if found.status != RUNNING:
        raise SchedulerOff(f"The formation is {found.status}.")
    block = found.config.get("scheduler")
    return block if isinstance(block, dict) else {}


def _rest(system: Actor, job: ScheduledPrompt) -> None:
    words = f"{job.consecutive_failures} turns failed in a row"
    facts = rest_schedule(system, SUBJECT, job.pk, reason=words)
    if facts:
        # Told later: who ends a turn publishes its own facts last, and what locks rows comes before.
        transaction.on_commit(lambda: _tell(system, facts), robust=True)


def _tell(system: Actor, facts: list[Fact]) -> None:
    with transaction.atomic():
        publish(system, *facts)
