"""Reading missions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef

from apps.core.actor import Scope
from apps.missions.errors import MissionNotFound
from apps.missions.models import Barrier, BarrierKind, BarrierState, Mission, MissionStatus
from apps.tasks.models import Task, TaskStatus
from apps.tasks.selectors import has_task_under_way, list_schedules

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor
    from apps.tasks.models import Schedule

MOST_LISTED = 500
RESUMABLE = (MissionStatus.ACTIVE, MissionStatus.PAUSED, MissionStatus.FAILED)


def list_missions(actor: Actor, *, status: str | None = None) -> list[Mission]:
    """The newest `MOST_LISTED`, newest first."""
    rows = _missions(actor)
    if status is not None:
        rows = rows.filter(status=status)
    return list(rows.order_by("-created_at", "-id")[:MOST_LISTED])


def get_mission(actor: Actor, mission_id: UUID) -> Mission:
    """Raises MissionNotFound."""
    mission: Mission | None = _missions(actor).filter(pk=mission_id).first()
    if mission is None:
        raise MissionNotFound
    return mission


def find_mission(actor: Actor, name: str) -> Mission:
    """The newest of that name; MissionNotFound."""
    mission: Mission | None = _missions(actor).filter(name=name).order_by("-created_at").first()
    if mission is None:
        raise MissionNotFound
    return mission


def is_on_its_way(actor: Actor, mission_id: UUID) -> bool:
    """Whether nothing can follow from a look at its graph now: no barriers, and a task is under way.

    Asked without a lock, and most of the times that a task ends: the end of the one under way, whenever
    it comes, has the mission looked at again.
    """
    from django.db.models import Exists, OuterRef

    barriers = Barrier.objects.in_workspace(actor.workspace_id)
    here = barriers.filter(mission_id=OuterRef("pk"), group=OuterRef("group"))
    rows = _missions(actor).filter(~Exists(here), pk=mission_id, status=MissionStatus.ACTIVE)
    group = rows.values_list("group", flat=True).first()
    return group is not None and has_task_under_way(actor, mission_id, group=group)


def list_resumable(actor: Actor) -> list[Mission]:
    """Those with a pending or failed task in their present execution (contract/polpo.md §7.5)."""
    left = Task.objects.in_workspace(actor.workspace_id).filter(
        mission_id=OuterRef("pk"),
        group=OuterRef("group"),
        status__in=[TaskStatus.PENDING, TaskStatus.FAILED],
    )
    rows = _missions(actor).filter(status__in=RESUMABLE).filter(Exists(left))
    return list(rows.order_by("-created_at", "-id")[:MOST_LISTED])


def mission_schedules(actor: Actor) -> list[Schedule]:
    """When missions are executed by the clock: the oldest `MOST_LISTED`."""
    return list(list_schedules(actor, "mission")[:MOST_LISTED])


def barriers_of(actor: Actor, mission: Mission) -> list[Barrier]:
    """The barriers of its present execution."""
    actor.need(Scope.READ)
    rows = Barrier.objects.in_workspace(actor.workspace_id)
    return list(rows.filter(mission_id=mission.pk, group=mission.group))


def checkpoints_waiting(actor: Actor) -> list[Barrier]:
    """Reached and not resumed, longest waiting first."""
    return _in_the_way(actor, BarrierKind.CHECKPOINT, BarrierState.REACHED)


def delays_running(actor: Actor) -> list[Barrier]:
    return _in_the_way(actor, BarrierKind.DELAY, BarrierState.STARTED)


def _in_the_way(actor: Actor, kind: str, state: str) -> list[Barrier]:
    actor.need(Scope.READ)
    rows = Barrier.objects.in_workspace(actor.workspace_id).filter(kind=kind, state=state)
    return list(rows.order_by("since")[:MOST_LISTED])


def _missions(actor: Actor) -> QuerySet[Mission]:
    actor.need(Scope.READ)
    rows: QuerySet[Mission] = Mission.objects.in_workspace(actor.workspace_id)
    return rows
