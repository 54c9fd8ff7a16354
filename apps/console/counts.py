"""What the dashboard counts, across workspaces: a named reader of `unscoped`.

Every query is bounded by an index: partial indexes for what is alive now, and for the past a range
of the time-ordered primary key (`uuid_floor`), because no index holds `created_at` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Count, F, Max, Min, Q, Sum
from django.db.models.functions import TruncDay, TruncHour
from django.utils import timezone

from apps.approvals.models import Approval
from apps.console.filters import uuid_floor
from apps.conversations.models import Session
from apps.core.rows import execute
from apps.missions.models import RUNNING, Mission
from apps.runs.models import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

HOURS, DAYS, TOP = 24, 14, 6
MOST_COUNTED = 100_000
LIVE = ("starting", "idle", "running", "waiting", "paused")


@dataclass(frozen=True, slots=True)
class Queue:
    """Runs that are not over. `oldest` seconds in the queue; `lapsed`: leases nobody renewed."""

    queued: int
    oldest: float | None
    running: int
    lapsed: int
    holders: int
    waiting: int


def live_sessions() -> tuple[dict[str, int], Sequence[Session]]:
    """How many sessions are alive, by status, and those used last."""
    rows = Session.unscoped.filter(~Q(status="ended"), deleted_at__isnull=True)
    by_status = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    latest = rows.select_related("workspace", "agent").order_by("-last_active_at")[:TOP]
    return by_status, list(latest)


def runs_per_hour(now: datetime) -> list[tuple[datetime, str, int]]:
    """(hour, status, runs) of the last 24 hours."""
    rows = _runs_since(now - timedelta(hours=HOURS)).annotate(hour=TruncHour("created_at"))
    return list(rows.order_by().values_list("hour", "status").annotate(Count("pk")))


def spending_per_day(now: datetime) -> list[tuple[datetime, int, int]]:
    """(day, tokens, micro-USD) of the last 14 days."""
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    rows = _runs_since(since).annotate(day=TruncDay("created_at")).order_by()
    return list(
        rows.values("day")
        .annotate(tokens=Sum(F("tokens_in") + F("tokens_out")), cost=Sum("cost_micros"))
        .values_list("day", "tokens", "cost")
    )


def dearest_workspaces(now: datetime) -> list[dict[str, Any]]:
    """The workspaces that spent most in 14 days."""
    rows = _runs_since(now - timedelta(days=DAYS)).order_by()
    spent = rows.values("workspace_id", "workspace__name").annotate(
        cost=Sum("cost_micros"), tokens=Sum(F("tokens_in") + F("tokens_out")), runs=Count("pk")
    )
    return list(spent.order_by("-cost", "-tokens")[:TOP])


def latest_errors(now: datetime) -> Sequence[Run]:
    rows = _runs_since(now - timedelta(hours=HOURS)).filter(status="failed")
    return list(rows.select_related("workspace").defer("input", "limits").order_by("-pk")[:TOP])


def queue_now(now: datetime) -> Queue:
    """Three queries, each on its own partial index."""
    queued = Run.unscoped.filter(status="queued").aggregate(n=Count("pk"), oldest=Min("created_at"))
    running = Run.unscoped.filter(status="running").aggregate(
        n=Count("pk"),
        lapsed=Count("pk", filter=Q(lease_until__lt=now)),
        holders=Count("lease_owner", distinct=True),
    )
    waiting = Run.unscoped.filter(status="waiting").count()
    oldest = queued["oldest"]
    return Queue(
        queued=queued["n"],
        oldest=(now - oldest).total_seconds() if oldest else None,
        running=running["n"],
        lapsed=running["lapsed"],
        holders=running["holders"],
        waiting=waiting,
    )


# Of what is alive, along the partial indexes of tasks at work and of those that wait for a place or for
# others; of the last day, by the time-ordered key. No branch reads more than %(most)s rows.
_TASKS = """
SELECT status, count(*) FROM (SELECT status FROM tasks_task
    WHERE status IN ('assigned', 'in_progress', 'review') LIMIT %(most)s) AS at_work GROUP BY status
UNION ALL SELECT 'ready', count(*) FROM (SELECT 1 FROM tasks_task WHERE ready LIMIT %(most)s) AS r
UNION ALL SELECT 'blocked', count(*) FROM (SELECT 1 FROM tasks_task
    WHERE status = 'pending' AND NOT ready LIMIT %(most)s) AS b
UNION ALL SELECT status, count(*) FROM (SELECT status FROM tasks_task
    WHERE id >= %(since)s AND status IN ('done', 'failed') LIMIT %(most)s) AS ended GROUP BY status"""


def tasks_by_status(now: datetime) -> dict[str, int]:
    """`assigned`, `in_progress`, `review`, `ready` and `blocked` now; `done` and `failed` of those made
    in the last 24 hours. One query.
    """
    values = {"most": MOST_COUNTED, "since": uuid_floor(now - timedelta(hours=HOURS))}
    return dict(execute(_TASKS, values))


def running_missions() -> dict[str, int]:
    """How many are active and paused."""
    rows = Mission.unscoped.filter(status__in=list(RUNNING)).order_by()
    return dict(rows.values_list("status").annotate(Count("pk")))


def pending_approvals() -> int:
    return Approval.unscoped.filter(status="pending").count()


def last_heartbeat() -> datetime | None:
    """When a worker last did the job that the scheduler sends it: both of them live."""
    heartbeats = apps.get_model("embedded", "Heartbeat")  # by name: apps do not know the project
    last: datetime | None = heartbeats.objects.aggregate(last=Max("at"))["last"]
    return last


def _runs_since(moment: datetime) -> Any:
    return Run.unscoped.filter(pk__gte=uuid_floor(moment))


def now() -> datetime:
    return timezone.now()
