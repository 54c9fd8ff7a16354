"""The board: a workspace's tasks in columns by status, and its missions that run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET

from apps.console import show
from apps.console.find import id_in
from apps.console.live import MAY_WATCH
from apps.console.mission_page import Share, shares
from apps.console.watching import watch
from apps.core.rows import execute
from apps.missions.models import RUNNING, Barrier, BarrierKind, BarrierState, Mission
from apps.tasks.models import Task, TaskStatus
from apps.workspaces.models import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

MOST_CARDS = 50  # of a column, newest
MOST_MISSIONS = 20
MOST_WORKSPACES = 200
COUNTED = 1_000  # a column's count goes no further
FRAGMENT = "console/board_live.html"


@dataclass(frozen=True, slots=True)
class Column:
    """`count` as shown: `12`, or `1,000+`."""

    status: str
    title: str
    count: str
    cards: Sequence[Task]
    url: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A mission that runs. `waiting`: checkpoints it has reached."""

    mission: Mission
    shares: Sequence[Share]
    done: int
    total: int
    waiting: Sequence[Barrier]


def board_urls() -> list[URLPattern]:
    """Joined to the admin's own URLs: `/admin/board/…`."""

    def inside(view: Any) -> Any:
        return admin.site.admin_view(view)

    return [
        path("board/", inside(choose_board), name="board_choice"),
        path("board/<str:workspace_id>/", inside(board), name="board"),
        path("board/<str:workspace_id>/live/", inside(board_fragment), name="board_live"),
    ]


@require_GET
def choose_board(request: HttpRequest) -> HttpResponse:
    """The newest workspaces, those where something is at work first."""
    _need(request)
    at_work = _at_work()
    known = Workspace.objects.exclude(status="removed")
    rows = [*known.filter(pk__in=at_work), *known.order_by("-pk")[:MOST_WORKSPACES]]
    busy = [(row, at_work.get(row.pk, 0)) for row in dict.fromkeys(rows)]
    context = {
        **admin.site.each_context(request),
        "title": "Boards",
        "workspaces": sorted(busy, key=lambda pair: -pair[1])[:MOST_WORKSPACES],
        "most": MOST_WORKSPACES,
    }
    return TemplateResponse(request, "console/board_choice.html", context)


@require_GET
def board(request: HttpRequest, workspace_id: str) -> HttpResponse:
    _need(request)
    workspace = _workspace(workspace_id)
    url = reverse("admin:board_live", args=[workspace.pk])
    context = {
        **admin.site.each_context(request),
        "title": workspace.name,
        "subtitle": "Board",
        "workspace": workspace,
        **_shown(workspace.pk),
        "watch": watch(request, workspace.pk, FRAGMENT, url),
    }
    return TemplateResponse(request, "console/board.html", context)


@require_GET
def board_fragment(request: HttpRequest, workspace_id: str) -> HttpResponse:
    _need(request)
    return TemplateResponse(request, FRAGMENT, _shown(_workspace(workspace_id).pk))


def _at_work() -> dict[UUID, int]:
    """Workspace -> tasks at work there: along the partial index of those."""
    rows = Task.unscoped.filter(status__in=["assigned", "in_progress", "review"]).order_by()
    counted = rows.values_list("workspace_id").annotate(number=Count("pk"))
    return dict(counted.order_by("-number")[:MOST_WORKSPACES])


def _need(request: HttpRequest) -> None:
    if not request.user.has_perms(MAY_WATCH):
        raise PermissionDenied


def _workspace(text: str) -> Workspace:
    known = id_in(text)
    row = Workspace.objects.filter(pk=known).first() if known else None
    if row is None:
        raise Http404
    return row


def _shown(workspace_id: UUID) -> dict[str, Any]:
    """Five queries, each along an index and bounded."""
    counts = _counts(workspace_id)
    cards = _cards(workspace_id)
    columns = [
        Column(
            status,
            TaskStatus(status).label,
            f"{COUNTED:,}+" if counts[status] > COUNTED else f"{counts[status]:,}",
            cards[status],
            show.list_url("tasks_task", status__exact=status, workspace__id__exact=workspace_id),
        )
        for status in TaskStatus.values
    ]
    return {"columns": columns, "missions": _missions(workspace_id), "most_cards": MOST_CARDS}


_COUNTS = """SELECT s.status, (SELECT count(*) FROM (
        SELECT 1 FROM tasks_task t WHERE t.workspace_id = %s AND t.status = s.status LIMIT %s) AS counted)
  FROM unnest(%s::text[]) AS s(status)"""
_CARDS = """SELECT newest.id FROM unnest(%s::text[]) AS s(status) CROSS JOIN LATERAL (
    SELECT t.id FROM tasks_task t WHERE t.workspace_id = %s AND t.status = s.status
     ORDER BY t.created_at DESC, t.id DESC LIMIT %s) AS newest"""


def _counts(workspace_id: UUID) -> dict[str, int]:
    return dict(execute(_COUNTS, [workspace_id, COUNTED + 1, TaskStatus.values]))


def _cards(workspace_id: UUID) -> Mapping[str, list[Task]]:
    """Status -> its newest tasks, newest first."""
    ids = [row[0] for row in execute(_CARDS, [TaskStatus.values, workspace_id, MOST_CARDS])]
    tasks = Task.objects.in_workspace(workspace_id).filter(pk__in=ids)
    shown = tasks.only(
        "title", "status", "assign_to", "group", "mission_id", "priority", "retries", "max_retries",
        "phase", "created_at", "updated_at",
    )  # fmt: skip
    found = defaultdict(list)
    for task in shown.order_by("-created_at", "-id"):
        found[task.status].append(task)
    return found


def _missions(workspace_id: UUID) -> list[Progress]:
    rows = Mission.objects.in_workspace(workspace_id).filter(status__in=RUNNING)
    shown = rows.only("name", "status", "group", "started_at", "created_at")
    missions = list(shown.order_by("-created_at")[:MOST_MISSIONS])
    states = _states(workspace_id, [mission.group for mission in missions])
    waiting = _waiting(workspace_id)
    return [
        _progress(mission, states.get(mission.group, Counter()), waiting.get(mission.pk, []))
        for mission in missions
    ]


def _progress(mission: Mission, states: Counter[str], waiting: Sequence[Barrier]) -> Progress:
    done = states["done"] + states["failed"]
    return Progress(mission, shares(states), done, states.total(), waiting)


def _states(workspace_id: UUID, groups: Sequence[str]) -> dict[str, Counter[str]]:
    """Group -> how many of its tasks are in which status. One query; a group has 1,000 at most."""
    if not groups:
        return {}
    statuses = Task.objects.in_workspace(workspace_id).filter(group__in=groups)
    found: dict[str, Counter[str]] = {}
    for group, status in statuses.values_list("group", "status"):
        found.setdefault(group, Counter())[status] += 1
    return found


def _waiting(workspace_id: UUID) -> dict[UUID, list[Barrier]]:
    """Mission -> the checkpoints at which it waits."""
    rows = Barrier.objects.in_workspace(workspace_id).filter(
        kind=BarrierKind.CHECKPOINT, state=BarrierState.REACHED
    )
    found: dict[UUID, list[Barrier]] = {}
    for barrier in rows.order_by("since")[: 10 * MOST_MISSIONS]:
        found.setdefault(barrier.mission_id, []).append(barrier)
    return found
