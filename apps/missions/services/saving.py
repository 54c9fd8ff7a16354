"""Making missions, changing what they say, removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core.actor import Scope
from apps.core.cron import Cron, parse_when
from apps.core.errors import InvalidInput
from apps.core.reading import InvalidFields
from apps.events.services import publish
from apps.formations.services import lock_agents, remove_volatile
from apps.missions.drafts import put_document, read_document, saved, shown
from apps.missions.errors import MissionNotFound, MissionStateForbids
from apps.missions.events import MissionDeleted
from apps.missions.models import RUNNING, Mission, MissionStatus
from apps.missions.services.turning import turn
from apps.tasks.fields import read_moment
from apps.tasks.selectors import find_schedule
from apps.tasks.services import remove_mission_tasks, remove_schedule, set_schedule
from apps.tasks.spec import parse_notifications

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.missions.document import MissionDocument

MAX_NAME = 200
MAX_PROMPT = 100_000
SCHEDULED = (MissionStatus.SCHEDULED, MissionStatus.RECURRING)


def create_mission(
    actor: Actor,
    *,
    data: Any,
    name: str | None = None,
    prompt: str = "",
    status: str | None = None,
    end_date: Any = None,
    notifications: Mapping[str, Any] | None = None,
) -> Mission:
    """A mission from its document: JSON text or the object itself.

    Without a `status` it is a draft, or scheduled when the document says when. Raises MissionInvalid,
    InvalidInput, MissionStateForbids for a status that only an execution has.
    """
    actor.need(Scope.WRITE)
    document = read_document(data)
    wanted = status or _status_of(document)
    if wanted not in (MissionStatus.DRAFT, *SCHEDULED):
        raise MissionStateForbids(f"A mission cannot begin as {wanted}.")
    with transaction.atomic():
        mission = Mission(
            workspace_id=actor.workspace_id,
            name=_name(actor, name or document.name),
            prompt=_prompt(prompt),
            user_id=actor.user_id,
            token_id=actor.token_id,
        )
        put_document(mission, document)
        mission.end_date = _moment(end_date) or mission.end_date
        mission.notifications = _notes(notifications) or mission.notifications
        mission.status = wanted
        mission.save(force_insert=True)
        record_change(actor, "mission.created", "mission", mission.pk, after=shown(mission))
        publish(actor, *keep_schedule(actor, mission), saved(mission))
    return mission


def _moment(value: Any) -> datetime | None:
    try:
        return read_moment(value)
    except ValueError as error:
        raise InvalidInput(f"endDate: {error}", fields={"endDate": [str(error)]}) from None


def _notes(value: Any) -> dict[str, Any] | None:
    try:
        notes = parse_notifications(value, "notifications")
    except InvalidFields as error:
        raise InvalidInput(str(error), fields=error.fields) from None
    return None if notes is None else dict(notes)


def _status_of(document: MissionDocument) -> str:
    if not document.schedule:
        return MissionStatus.DRAFT
    repeats = isinstance(parse_when(document.schedule), Cron)
    return MissionStatus.RECURRING if repeats else MissionStatus.SCHEDULED


def _name(actor: Actor, name: str) -> str:
    if name and (len(name) > MAX_NAME or "\x00" in name or not name.strip()):
        raise InvalidInput(fields={"name": [f"Must be 1 to {MAX_NAME} characters."]})
    return name or f"mission-{Mission.objects.in_workspace(actor.workspace_id).count() + 1}"


def _prompt(prompt: Any) -> str:
    if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT or "\x00" in prompt:
        raise InvalidInput(fields={"prompt": [f"Must be text of at most {MAX_PROMPT} characters."]})
    return prompt


def keep_schedule(actor: Actor, mission: Mission, *, anew: bool = False) -> list[Fact]:
    """Bring the schedule into line with the mission: one of `SCHEDULED` has one, others none.

    One under way counts as what it returns to. A schedule that says the same already is left alone
    but for `anew`: its time may have passed, or it may be switched off.
    """
    standing = mission.home if mission.status in RUNNING else mission.status
    if standing not in SCHEDULED:
        remove_schedule(actor, "mission", mission.pk)
        return []
    expression = mission.document.get("schedule", "")
    if not expression:
        raise InvalidInput(
            "A scheduled mission needs a schedule in its document.",
            fields={"data.schedule": ["Required for this status."]},
        )
    wanted = {
        "expression": expression.strip(),
        "recurring": standing == MissionStatus.RECURRING,
        "end_date": mission.end_date,
    }
    there = find_schedule(actor, "mission", mission.pk)
    same = there is not None and all(getattr(there, name) == wanted[name] for name in wanted)
    return [] if same and not anew else set_schedule(actor, "mission", mission.pk, **wanted)[1]


def lock_mission(actor: Actor, mission_id: UUID) -> Mission:
    """The mission's row, locked: before its tasks. MissionNotFound."""
    rows = Mission.objects.in_workspace(actor.workspace_id).select_for_update()
    mission: Mission | None = rows.filter(pk=mission_id).first()
    if mission is None:
        raise MissionNotFound
    return mission


@transaction.atomic
def update_mission(actor: Actor, mission_id: UUID, **changes: Any) -> Mission:
    """Change `data`, `name`, `prompt`, `status`, `end_date` (None clears) or `notifications`.

    All or nothing. What is under way goes on as it was executed. Raises MissionNotFound, InvalidInput,
    MissionStateForbids.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    before = shown(mission)
    if "name" in changes:
        mission.name = _name(actor, str(changes["name"] or ""))
    if "prompt" in changes:
        mission.prompt = _prompt(changes["prompt"])
    if "data" in changes:
        put_document(mission, read_document(changes["data"]))
    if "end_date" in changes:
        mission.end_date = _moment(changes["end_date"])
    if "notifications" in changes:
        mission.notifications = _notes(changes["notifications"])
    wanted = changes.get("status") or mission.status
    facts = turn(actor, mission, wanted) if wanted != mission.status else []
    mission.save()
    facts += keep_schedule(actor, mission, anew=mission.status != before["status"])
    record_change(
        actor, "mission.updated", "mission", mission.pk, before=before, after=shown(mission)
    )
    publish(actor, *facts, saved(mission))
    return mission


@transaction.atomic
def delete_mission(actor: Actor, mission_id: UUID, *, reason: str = "") -> int:
    """Remove a mission with the tasks of all its executions; those at work are stopped.

    Its own agents and its schedule go with it. Returns how many tasks went. MissionNotFound.
    """
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    lock_agents(actor)  # before a stopped task takes the log's head: the order of every writer
    gone = remove_mission_tasks(actor, mission.pk)
    if mission.group:
        remove_volatile(actor, mission.group)
    remove_schedule(actor, "mission", mission.pk)
    record_change(
        actor, "mission.deleted", "mission", mission.pk, before=shown(mission), reason=reason
    )
    mission.delete()
    publish(actor, MissionDeleted(mission_id=mission_id, deleted_tasks=gone))
    return gone
