"""Schedules: set, change, remove, and the one tick that fires what is due."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core import cron
from apps.core.actor import Actor, Scope
from apps.core.clock import now
from apps.core.errors import DomainError, InvalidInput
from apps.core.rows import execute
from apps.events.services import publish, publish_all
from apps.tasks.errors import ScheduleNotFound
from apps.tasks.events import (
    ScheduleCompleted,
    ScheduleCreated,
    ScheduleExpired,
    ScheduleFailed,
    ScheduleSwitched,
    ScheduleTriggered,
)
from apps.tasks.models import Schedule
from apps.tasks.schedules import due_of
from apps.workspaces.preferences import read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.facts import Fact

log = logging.getLogger(__name__)
MOST_A_TICK = 200
LONGEST_EXPRESSION = 120  # as the column has it


def set_schedule(
    actor: Actor,
    subject_type: str,
    subject_id: UUID,
    *,
    expression: str,
    recurring: bool = False,
    end_date: datetime | None = None,
    enabled: bool = True,
    zone: str = "",
) -> tuple[Schedule, list[Fact]]:
    """Make or replace the schedule of a subject, in the caller's transaction; told in `zone`, by
    default the workspace's.

    A moment is always one-shot. Raises InvalidInput for an expression that is none or never comes.
    """
    actor.need(Scope.WRITE)
    zone = zone or read_preferences(get_workspace(actor).settings).timezone
    first, is_cron = _first(expression, zone, end_date)
    schedule: Schedule
    schedule, _ = Schedule.objects.in_workspace(actor.workspace_id).update_or_create(
        workspace_id=actor.workspace_id,
        subject_type=subject_type,
        subject_id=subject_id,
        defaults={
            "expression": expression.strip(),
            "zone": zone,
            "recurring": recurring and is_cron,
            "enabled": enabled,
            "next_run_at": first,
            "end_date": end_date,
            "last_error": "",
            "user_id": actor.user_id,
        },
    )
    record_change(actor, "schedule.set", "schedule", schedule.pk, after=_shown(schedule))
    return schedule, [ScheduleCreated(**_whose(schedule), next_run_at=first)]


def _first(expression: str, zone: str, end_date: datetime | None) -> tuple[datetime, bool]:
    """When it fires first, and whether it is a cron expression."""
    if len(expression) > LONGEST_EXPRESSION:
        raise _refused(f"At most {LONGEST_EXPRESSION} characters.")
    try:
        when = cron.parse_when(expression)
    except cron.CronInvalid as error:
        raise _refused(str(error)) from None
    is_cron = isinstance(when, cron.Cron)
    moment = _after(when, now(), zone)
    if moment is None or (end_date is not None and moment > end_date):
        raise _refused("This time never comes, or has passed.")
    return moment, is_cron


def _after(when: cron.Cron | datetime, moment: datetime, zone: str) -> datetime | None:
    if isinstance(when, cron.Cron):
        return cron.next_after(when, moment, cron.read_zone(zone))
    return when if when > moment else None


def _refused(words: str) -> InvalidInput:
    return InvalidInput(f"expression: {words}", fields={"expression": [words]})


def change_schedule(
    actor: Actor,
    subject_type: str,
    subject_id: UUID,
    *,
    enabled: bool | None = None,
    **changes: Any,
) -> tuple[Schedule, list[Fact]]:
    """Change some of `expression`, `recurring`, `end_date`, `zone` and `enabled`, in the caller's
    transaction.

    Raises ScheduleNotFound, InvalidInput. What is switched on again goes on with its next time.
    """
    old = _locked(actor, subject_type, subject_id)
    told: dict[str, Any] = {
        "expression": old.expression,
        "recurring": old.recurring,
        "end_date": old.end_date,
        "enabled": old.enabled if enabled is None else enabled,
    }
    return set_schedule(actor, subject_type, subject_id, **(told | changes))


@transaction.atomic
def switch_schedule(
    actor: Actor, schedule_id: UUID, *, enabled: bool, reason: str = ""
) -> Schedule:
    """Let a schedule rest, or go on with its next time. Raises ScheduleNotFound, and InvalidInput for
    one whose time has passed.
    """
    actor.need(Scope.WRITE)
    rows = Schedule.objects.in_workspace(actor.workspace_id).select_for_update()
    schedule: Schedule | None = rows.filter(pk=schedule_id).first()
    if schedule is None:
        raise ScheduleNotFound
    if schedule.enabled == enabled:
        return schedule
    before = _shown(schedule)
    schedule.enabled = enabled
    if enabled:
        schedule.next_run_at, _ = _first(schedule.expression, schedule.zone, schedule.end_date)
    schedule.save(update_fields=["enabled", "next_run_at", "updated_at"])
    record_change(
        actor,
        "schedule.switched",
        "schedule",
        schedule.pk,
        before=before,
        after=_shown(schedule),
        reason=reason,
    )
    publish(actor, ScheduleSwitched(**_whose(schedule), enabled=enabled))
    return schedule


def rest_schedule(actor: Actor, subject_type: str, subject_id: UUID, *, reason: str) -> list[Fact]:
    """Let a subject's schedule rest until somebody switches it on, in the caller's transaction.

    Nothing where it has none, or it rests already.
    """
    actor.need(Scope.WRITE)
    rows = Schedule.objects.in_workspace(actor.workspace_id).select_for_update()
    found = rows.filter(subject_type=subject_type, subject_id=subject_id, enabled=True)
    schedule: Schedule | None = found.first()
    if schedule is None:
        return []
    before = _shown(schedule)
    schedule.enabled = False
    schedule.save(update_fields=["enabled", "updated_at"])
    record_change(
        actor,
        "schedule.switched",
        "schedule",
        schedule.pk,
        before=before,
        after=_shown(schedule),
        reason=reason,
    )
    return [ScheduleSwitched(**_whose(schedule), enabled=False)]


def remove_schedule(actor: Actor, subject_type: str, subject_id: UUID) -> bool:
    """Forget a subject's schedule, in the caller's transaction; False when it has none."""
    actor.need(Scope.WRITE)
    rows = Schedule.objects.in_workspace(actor.workspace_id)
    schedule = rows.filter(subject_type=subject_type, subject_id=subject_id).first()
    if schedule is None:
        return False
    record_change(actor, "schedule.removed", "schedule", schedule.pk, before=_shown(schedule))
    schedule.delete()
    return True


def _locked(actor: Actor, subject_type: str, subject_id: UUID) -> Schedule:
    actor.need(Scope.WRITE)
    rows = Schedule.objects.in_workspace(actor.workspace_id).select_for_update()
    schedule: Schedule | None = rows.filter(
        subject_type=subject_type, subject_id=subject_id
    ).first()
    if schedule is None:
        raise ScheduleNotFound
    return schedule


def _shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "subject_type": schedule.subject_type,
        "subject_id": str(schedule.subject_id),
        "expression": schedule.expression,
        "zone": schedule.zone,
        "recurring": schedule.recurring,
        "enabled": schedule.enabled,
    }


def _whose(schedule: Schedule) -> dict[str, Any]:
    return {
        "schedule_id": schedule.pk,
        "subject_type": schedule.subject_type,
        "subject_id": schedule.subject_id,
    }


# --- The tick: it sees every workspace, and is named in the house test ---------------------------
def fire_due() -> int:
    """Fire what is due by the database's clock, each in a transaction of its own. Returns how many.

    Times that passed while nothing ran fire once, now; the next one is counted from here.
    """
    due = execute(
        """SELECT workspace_id, id FROM tasks_schedule
            WHERE enabled AND next_run_at <= now() ORDER BY next_run_at LIMIT %s""",
        [MOST_A_TICK],
    )
    fired = 0
    for workspace_id, schedule_id in due:
        try:
            fired += _fire(Actor.for_system(workspace_id), schedule_id)
        except Exception:
            log.exception("schedule %s could not be fired; the next tick tries again", schedule_id)
    return fired


@transaction.atomic
def _fire(actor: Actor, schedule_id: UUID) -> bool:
    """Under the row's lock, look again: another tick may have been here."""
    rows = Schedule.objects.in_workspace(actor.workspace_id).filter(pk=schedule_id)
    seen = rows.first()
    if seen is None:
        return False
    due_of(seen.subject_type).lock(actor, seen)
    waiting = rows.filter(enabled=True, next_run_at__isnull=False)
    schedule = waiting.select_for_update(skip_locked=True).first()
    moment = now()
    if schedule is None or schedule.next_run_at > moment:
        return False
    if schedule.end_date is not None and schedule.end_date < moment:
        publish(actor, *_expire(actor, schedule, schedule.end_date))
        return False
    _move_on(schedule, moment)
    facts: list[Fact] = [ScheduleTriggered(**_whose(schedule), expression=schedule.expression)]
    facts += _do(actor, schedule)
    if not schedule.recurring:
        facts.append(ScheduleCompleted(**_whose(schedule)))
    schedule.save()
    publish_all(actor, facts)
    return True


def _do(actor: Actor, schedule: Schedule) -> list[Fact]:
    """What the schedule is for; what cannot be done leaves nothing half done."""
    try:
        with transaction.atomic():
            facts = due_of(schedule.subject_type).fire(actor, schedule)
    except DomainError as error:
        schedule.last_error = error.message[:500]
        return [ScheduleFailed(**_whose(schedule), reason=schedule.last_error)]
    schedule.last_error = ""
    return facts


def _move_on(schedule: Schedule, moment: datetime) -> None:
    schedule.last_run_at = moment
    when = cron.parse_when(schedule.expression)
    following = _after(when, moment, schedule.zone) if schedule.recurring else None
    schedule.next_run_at, schedule.enabled = following, following is not None


def _expire(actor: Actor, schedule: Schedule, end_date: datetime) -> list[Fact]:
    schedule.enabled, schedule.next_run_at = False, None
    schedule.save()
    fact = ScheduleExpired(**_whose(schedule), end_date=end_date)
    return [fact, *due_of(schedule.subject_type).expired(actor, schedule)]
