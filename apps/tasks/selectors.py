"""Reading tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Q

from apps.core.actor import Scope
from apps.core.rows import execute
from apps.runs.models import Run
from apps.tasks.errors import JobNotFound, TaskNotFound
from apps.tasks.models import WORKING, Assessment, Schedule, ScheduledPrompt, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.approvals.models import Approval
    from apps.core.actor import Actor, Caller

MOST_LISTED = 2_000
MOST_ASSESSMENTS = 50  # of one task, newest
MOST_JOBS = 500  # listed at once; as many as a workspace may have
SUBJECT = "prompt"  # of the schedules of jobs


def get_task(actor: Actor, task_id: UUID) -> Task:
    """Raises TaskNotFound."""
    actor.need(Scope.READ)
    task: Task | None = Task.objects.in_workspace(actor.workspace_id).filter(pk=task_id).first()
    if task is None:
        raise TaskNotFound
    return task


def list_tasks(
    actor: Actor,
    *,
    statuses: Sequence[str] = (),
    group: str | None = None,
    assign_to: str | None = None,
    limit: int = MOST_LISTED,
) -> list[Task]:
    """The newest `limit` tasks that fit every filter, oldest first (contract/polpo.md §3.2)."""
    actor.need(Scope.READ)
    rows = _filtered(actor, statuses=statuses, group=group, assign_to=assign_to)
    newest = rows.order_by("-created_at", "-id")[: min(limit, MOST_LISTED)]
    return list(reversed(newest))


def _filtered(
    actor: Actor, *, statuses: Sequence[str], group: str | None, assign_to: str | None
) -> QuerySet[Task]:
    rows: QuerySet[Task] = Task.objects.in_workspace(actor.workspace_id)
    if statuses:
        rows = rows.filter(status__in=statuses)
    if group is not None:
        rows = rows.filter(group=group)
    if assign_to is not None:
        rows = rows.filter(assign_to=assign_to)
    return rows


def tasks_by_id(actor: Actor, task_ids: Iterable[UUID]) -> dict[UUID, Task]:
    """Those of these tasks that are there: one query."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(pk__in=list(task_ids))
    return {task.pk: task for task in rows}


def tasks_of_mission(actor: Actor, mission_id: UUID, *, group: str | None = None) -> list[Task]:
    """A mission's tasks in the order of their document; `group` narrows to one execution."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(mission_id=mission_id)
    if group is not None:
        rows = rows.filter(group=group)
    return list(rows.order_by("created_at", "id"))


def has_task_under_way(actor: Actor, mission_id: UUID, *, group: str) -> bool:
    """Whether a task of this execution is at work, judged, or about to start."""
    actor.need(Scope.READ)
    rows = Task.objects.in_workspace(actor.workspace_id).filter(mission_id=mission_id, group=group)
    return rows.filter(Q(ready=True) | Q(status__in=WORKING)).exists()


def assessments_of(actor: Actor, task_ids: Iterable[UUID]) -> dict[UUID, list[Assessment]]:
    """Each task's judgements, oldest first: one query."""
    actor.need(Scope.READ)
    rows = Assessment.objects.in_workspace(actor.workspace_id)
    found: dict[UUID, list[Assessment]] = {}
    for row in rows.filter(task_id__in=list(task_ids)).order_by("task_id", "number"):
        found.setdefault(row.task_id, []).append(row)
    return {task_id: listed[-MOST_ASSESSMENTS:] for task_id, listed in found.items()}


def scores_of(actor: Actor, task_ids: Iterable[UUID]) -> dict[UUID, float]:
    """The score of each task's newest judgement that has one."""
    actor.need(Scope.READ)
    rows = Assessment.objects.in_workspace(actor.workspace_id).filter(
        task_id__in=list(task_ids), global_score__isnull=False
    )
    return dict(rows.order_by("task_id", "number").values_list("task_id", "global_score"))


def approvals_about(actor: Actor, task_id: UUID) -> Q:
    """Picks the requests about a task, or about an attempt at it or a review of it."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(
        subject_type="task", subject_id=task_id
    )
    return Q(subject_type="task", subject_id=task_id) | Q(
        subject_type="run", subject_id__in=runs.values("pk")
    )


def tasks_behind(actor: Actor, approvals: Sequence[Approval]) -> dict[UUID, Task]:
    """Request -> the task it is about, where it is about one. Two queries."""
    actor.need(Scope.READ)
    asked = {row.pk: row.subject_id for row in approvals if row.subject_type in {"task", "run"}}
    runs = Run.objects.in_workspace(actor.workspace_id).filter(
        pk__in=list(asked.values()), subject_type="task"
    )
    of_run = dict(runs.values_list("pk", "subject_id"))
    wanted = {pk: of_run.get(subject, subject) for pk, subject in asked.items()}
    tasks = tasks_by_id(actor, {task_id for task_id in wanted.values() if task_id})
    return {pk: tasks[task_id] for pk, task_id in wanted.items() if task_id in tasks}


def find_schedule(actor: Actor, subject_type: str, subject_id: UUID) -> Schedule | None:
    """A subject's schedule, None when it has none."""
    return list_schedules(actor, subject_type).filter(subject_id=subject_id).first()


def list_schedules(actor: Actor, subject_type: str) -> QuerySet[Schedule]:
    """Those of one kind of subject, oldest first. The caller pages."""
    actor.need(Scope.READ)
    rows: QuerySet[Schedule] = Schedule.objects.in_workspace(actor.workspace_id)
    return rows.filter(subject_type=subject_type).order_by("created_at", "id")


class Job(NamedTuple):
    """A prompt and the schedule on which it is said."""

    prompt: ScheduledPrompt
    schedule: Schedule

    @property
    def status(self) -> str:
        """ACTIVE, PAUSED, or where nothing is to come: COMPLETED, or FAILED when the last turn did."""
        if self.schedule.enabled:
            return "ACTIVE"
        if self.schedule.next_run_at is not None:
            return "PAUSED"
        return "FAILED" if self.prompt.last_run_status == "failed" else "COMPLETED"


def list_jobs(actor: Actor, *, end_user: str | None = None) -> list[Job]:
    """Everybody's prompts on a schedule, or one end user's, oldest first. Two queries."""
    actor.need(Scope.READ)
    rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id).order_by("created_at", "id")
    if end_user is not None:
        rows = rows.filter(end_user=end_user)
    found = list(rows[:MOST_JOBS])
    schedules = list_schedules(actor, SUBJECT).filter(subject_id__in=[row.pk for row in found])
    of = {schedule.subject_id: schedule for schedule in schedules}
    return [Job(row, of[row.pk]) for row in found if row.pk in of]


def get_job(actor: Actor, job_id: UUID, *, end_user: str | None = None) -> Job:
    """Raises JobNotFound: absent, foreign, and another end user's alike."""
    actor.need(Scope.READ)
    rows = ScheduledPrompt.objects.in_workspace(actor.workspace_id).filter(pk=job_id)
    if end_user is not None:
        rows = rows.filter(end_user=end_user)
    row, schedule = rows.first(), find_schedule(actor, SUBJECT, job_id)
    if row is None or schedule is None:
        raise JobNotFound
    return Job(row, schedule)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a project has: tasks, those at work, agents."""

    tasks: int = 0
    working: bool = False
    agents: int = 0


_COUNTS = """SELECT w.id, (SELECT count(*) FROM tasks_task t WHERE t.workspace_id = w.id),
       EXISTS (SELECT 1 FROM tasks_task t WHERE t.workspace_id = w.id
                AND t.status IN ('assigned', 'in_progress', 'review')),
       (SELECT count(*) FROM formations_agent a WHERE a.workspace_id = w.id)
  FROM unnest(%s::uuid[]) AS w(id)"""


def counts_of(caller: Caller, workspace_ids: Sequence[UUID]) -> dict[UUID, Counts]:
    """The counts of workspaces that `caller` was shown: one query."""
    del caller  # the ids are what `list_workspaces` answered them
    rows = execute(_COUNTS, [list(workspace_ids)]) if workspace_ids else []
    return {workspace_id: Counts(*numbers) for workspace_id, *numbers in rows}
