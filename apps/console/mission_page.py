"""What a mission's page shows of its execution: the graph, its barriers, how far it is, the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.console import show
from apps.console.drawing import draw_graph
from apps.console.layout import Mark
from apps.missions.models import Barrier, BarrierKind, BarrierState, Mission
from apps.tasks.models import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PLANNED = "planned"  # what has not been executed yet
MOST_REPORTED = 200
MOST_READ = 2_000  # tasks of an execution; a document has 1,000 at most
STEPS = {"done": 0, "failed": 1, "review": 2, "in_progress": 3, "assigned": 4}


@dataclass(frozen=True, slots=True)
class Share:
    """Tasks of one state. `percent` of all: how wide its part of the bar is."""

    state: str
    count: int
    percent: float


def shares(states: Mapping[str, int]) -> list[Share]:
    """What is over first, then what is under way, then what waits."""
    total = sum(states.values()) or 1
    ordered = sorted(states.items(), key=lambda item: (STEPS.get(item[0], 9), item[0]))
    return [Share(state, count, round(100 * count / total, 2)) for state, count in ordered if count]


def mission_context(mission: Mission) -> dict[str, Any]:
    """At most two queries, whatever the mission's size."""
    tasks, barriers = execution_of(mission)
    marks = marks_of(tasks, barriers) if tasks else planned(mission.executed or mission.document)
    states = Counter(mark.state for mark in marks if mark.is_task)
    return {
        "mission": mission,
        "graph": draw_graph(marks, mission.name),
        "shares": shares(states),
        "total": sum(states.values()),
        "is_planned": not tasks,
        "barriers": barriers,
        "report": mission.report,
        "reported": (mission.report or {}).get("tasks", [])[:MOST_REPORTED],
        "tasks_url": show.list_url("tasks_task", mission_id__exact=mission.pk),
        "group_url": show.list_url("tasks_task", group=mission.group),
        "events_url": show.list_url("events_event", subject_id__exact=mission.pk),
        "REACHED": BarrierState.REACHED,
        "CHECKPOINT": BarrierKind.CHECKPOINT,
    }


def execution_of(mission: Mission) -> tuple[Sequence[Task], list[Barrier]]:
    """The tasks and barriers of its present execution, or of its last; none before the first."""
    if not mission.group:
        return [], []
    tasks = Task.objects.in_workspace(mission.workspace_id).filter(
        mission_id=mission.pk, group=mission.group
    )
    shown = tasks.only("title", "status", "assign_to", "depends_on").order_by("created_at", "id")
    barriers = Barrier.objects.in_workspace(mission.workspace_id).filter(
        mission_id=mission.pk, group=mission.group
    )
    return list(shown[:MOST_READ]), list(barriers)


def marks_of(tasks: Iterable[Task], barriers: Iterable[Barrier]) -> list[Mark]:
    """Rows as marks. Lines lead through a barrier, not also around it."""
    found = list(tasks)
    ids = {task.title: str(task.pk) for task in found}
    fences = [
        (f"{barrier.kind}:{barrier.name}", barrier, _sides(barrier.spec, ids))
        for barrier in barriers
    ]
    marks = [
        Mark(
            key=str(task.pk),
            title=task.title,
            state=task.status,
            after=_through(str(task.pk), map(str, task.depends_on), [f[::2] for f in fences]),
            note=task.assign_to,
            row_id=str(task.pk),
            url=show.change_url("tasks_task", task.pk),
        )
        for task in found
    ]
    return marks + [
        Mark(key, barrier.name, barrier.state, after, barrier.kind)
        for key, barrier, (after, _) in fences
    ]


def planned(document: Mapping[str, Any]) -> list[Mark]:
    """A document's tasks and barriers, before anything of it has run."""
    tasks = document.get("tasks", [])
    ids = {task["title"]: task["title"] for task in tasks}
    fences = [
        (f"{kind}:{entry['name']}", entry["name"], kind, _sides(entry, ids))
        for kind, part in (
            (BarrierKind.GATE, "qualityGates"),
            (BarrierKind.CHECKPOINT, "checkpoints"),
            (BarrierKind.DELAY, "delays"),
        )
        for entry in document.get(part) or ()
    ]
    marks = [
        Mark(
            key=task["title"],
            title=task["title"],
            state=PLANNED,
            after=_through(
                task["title"], task.get("dependsOn") or (), [(f[0], f[3]) for f in fences]
            ),
            note=task.get("assignTo") or "",
        )
        for task in tasks
    ]
    return marks + [Mark(key, name, PLANNED, after, kind) for key, name, kind, (after, _) in fences]


Sides = tuple[tuple[str, ...], frozenset[str]]  # keys before a barrier, keys behind it


def _sides(spec: Mapping[str, Any], ids: Mapping[str, str]) -> Sides:
    def named(key: str) -> list[str]:
        return [ids[title] for title in spec.get(key) or () if title in ids]

    return tuple(named("afterTasks")), frozenset(named("blocksTasks"))


def _through(
    key: str, needs: Iterable[str], fences: Iterable[tuple[str, Sides]]
) -> tuple[str, ...]:
    """What a task waits for: the barriers before it, and what does not stand behind one of them."""
    before = [(fence, after) for fence, (after, blocked) in fences if key in blocked]
    behind = {need for _, after in before for need in after}
    return (*(fence for fence, _ in before), *(need for need in needs if need not in behind))
