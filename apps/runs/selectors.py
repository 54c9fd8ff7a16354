from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import (
    BooleanField,
    Case,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    When,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Left, Length, Now

from apps.core.actor import Scope
from apps.core.rows import execute
from apps.engine.ports import StepRecord, Usage
from apps.engine.state import rebuild
from apps.runs.holding import died_here, pid_of
from apps.runs.models import OPEN, Run, RunKind, RunStatus, Step, StepKind

LONGEST_SHOWN = 8_000  # characters of a result
MOST_CALLS = 2_000
MOST_COUNTED = 100_000

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.engine.state import TurnState
    from apps.formations.limits import Limits


def active_run(actor: Actor, session_id: UUID) -> Run | None:
    """The session's run that has not ended, newest first, or None."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).order_by("-created_at").first()


def count_runs(actor: Actor) -> tuple[int, int]:
    """(runs of the workspace, `MOST_COUNTED` at most; those that have not ended). Two queries."""
    actor.need(Scope.READ)
    runs = Run.objects.in_workspace(actor.workspace_id)
    return runs[:MOST_COUNTED].count(), runs.filter(status__in=OPEN)[:MOST_COUNTED].count()


_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('turns ' || %s, 0))"
# The first condition on the status is the index's own, or it would not be used.
_LOAD = """SELECT
  (SELECT count(*) FROM runs_run
    WHERE workspace_id = %s AND status IN ('queued', 'running', 'waiting') AND status <> 'waiting'),
  (SELECT coalesce(sum(tokens_in + tokens_out), 0)::bigint FROM runs_run
    WHERE workspace_id = %s AND created_at > now() - interval '1 minute')"""


def need_turn_room(actor: Actor, limits: Limits) -> None:
    """Raise FormationBusy when the workspace has as many turns under way as its formation may, or the
    turns that began in the last minute took its tokens. Turns that wait for a human count for nothing.

    In the transaction that queues the run: starts of one formation then go one at a time, and no two
    take the same last place. Two queries.
    """
    actor.need(Scope.WRITE)
    execute(_ONE_AT_A_TIME, [str(actor.workspace_id)])
    open_turns, tokens = execute(_LOAD, [actor.workspace_id, actor.workspace_id])[0]
    limits.check(open_turns=open_turns, tokens=tokens)


def calls_of_runs(actor: Actor, run_ids: Collection[UUID]) -> list[dict[str, Any]]:
    """The tools that these runs called, each run's in order. One query, none for no runs.

    `content` is cut, `data` left out where it is longer than that: a tool may have read a book.
    """
    if not run_ids:
        return []
    steps = Step.objects.in_workspace(actor.workspace_id).filter(run_id__in=run_ids, kind="tool")
    text = KeyTextTransform("content", "output")
    told = steps.annotate(
        size=Length(text),
        content=Left(text, LONGEST_SHOWN),
        data=Case(When(size__lte=LONGEST_SHOWN, then=KeyTransform("data", "output"))),
        structured=Q(output__data__isnull=False) & ~Q(output__data=None),
    )
    wanted = ("run_id", "call_id", "name", "status", "input", "size", "content", "data")
    return list(told.order_by("run_id", "index").values(*wanted, "structured")[:MOST_CALLS])


def journal_of(workspace_id: UUID, run_id: UUID) -> list[StepRecord]:
    """The run's steps as the engine wrote them, in order: what a resuming worker needs of them."""
    steps = Step.objects.in_workspace(workspace_id).filter(run_id=run_id).order_by("index")
    return [_record(row) for row in steps.values(*_READ)]


_READ = (
    "index",
    "kind",
    "name",
    "status",
    "call_id",
    "input",
    "output",
    "tokens_in",
    "tokens_out",
    "cost_micros",
    "started_at",
    "finished_at",
)


def _record(row: dict[str, Any]) -> StepRecord:
    return StepRecord(
        index=row["index"],
        kind=row["kind"],
        name=row["name"],
        status=row["status"],
        call_id=row["call_id"],
        input=row["input"],
        output=row["output"],
        usage=Usage(row["tokens_in"], row["tokens_out"]),
        cost_micros=row["cost_micros"],
        seconds=(row["finished_at"] - row["started_at"]).total_seconds(),
    )


def said_so_far(actor: Actor, run_id: UUID) -> TurnState:
    """The `text` and the `last` words of a turn that rests or has lost its holder, as its journal proves it."""
    return rebuild((), journal_of(actor.workspace_id, run_id))


# --- What agents are doing now --------------------------------------------------------------------
MOST_WORKING = 200  # shown at once
MOST_TOUCHED = 5_000  # file steps looked at, the newest
LONGEST_SUMMARY = 200  # characters
CREATING = frozenset({"write_file", "write"})
EDITING = frozenset({"edit_file", "edit"})
_PATH = Left(KeyTextTransform("path", "input"), 1_000)


@dataclass(frozen=True, slots=True)
class Work:
    """An agent at work on a task: who carries it and what its journal says so far.

    `pid` is 0 and `alive` False while nobody holds the run (it waits, or its holder is gone).
    `agent` is empty once the agent was deleted.
    """

    agent: str
    task_id: UUID
    session_id: UUID | None
    pid: int
    alive: bool
    started_at: datetime
    last_update: datetime
    tool_calls: int
    total_tokens: int
    last_tool: str
    last_file: str
    summary: str
    created: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)


def list_work(actor: Actor) -> list[Work]:
    """The open runs of tasks that have begun, the oldest first, at most `MOST_WORKING`. Two queries."""
    actor.need(Scope.READ)
    runs = list(_working(actor.workspace_id)[:MOST_WORKING])
    touched = files_touched(actor, [run.pk for run in runs]) if runs else {}
    return [_work(run, touched.get(run.pk, ([], []))) for run in runs]


def _working(workspace_id: UUID) -> QuerySet[Any]:
    """With what one step each says. `status__in=OPEN` is what the partial index covers."""
    steps = Step.objects.in_workspace(workspace_id).filter(run_id=OuterRef("pk"))
    newest = steps.order_by("-index")
    tools = newest.filter(kind=StepKind.TOOL)
    files = tools.annotate(path=_PATH).exclude(path=None)
    text = Left(KeyTextTransform("text", "output"), LONGEST_SUMMARY)
    texts = newest.filter(kind=StepKind.MODEL).annotate(said=text).filter(said__gt="")
    runs: QuerySet[Any] = Run.objects.in_workspace(workspace_id).filter(
        kind=RunKind.TASK, status__in=OPEN, subject_type="task", started_at__isnull=False
    )
    runs = runs.annotate(
        held=ExpressionWrapper(
            Q(status=RunStatus.RUNNING, lease_until__gt=Now()), output_field=BooleanField()
        ),
        last_tool=Subquery(tools.values("name")[:1]),
        last_file=Subquery(files.values("path")[:1]),
        said=Subquery(texts.values("said")[:1]),
        last_update=Subquery(newest.values("finished_at")[:1]),
    )
    return runs.select_related("agent").order_by("started_at", "id")


def files_touched(actor: Actor, run_ids: Iterable[UUID]) -> dict[UUID, tuple[list[str], list[str]]]:
    """Run -> paths written anew and paths changed, each once, in the order of the journal."""
    steps = Step.objects.in_workspace(actor.workspace_id).filter(
        run_id__in=run_ids, kind=StepKind.TOOL, status="ok", name__in=CREATING | EDITING
    )
    rows = steps.annotate(path=_PATH, append=KeyTextTransform("append", "input")).order_by(
        "-finished_at", "-index"
    )
    found: dict[UUID, tuple[list[str], list[str]]] = {}
    columns = ("run_id", "name", "path", "append")
    for run_id, name, path, append in reversed(rows.values_list(*columns)[:MOST_TOUCHED]):
        created, edited = found.setdefault(run_id, ([], []))
        paths = created if name in CREATING and append != "true" else edited
        if path and path not in paths:
            paths.append(path)
    return found


def _work(run: Any, touched: tuple[list[str], list[str]]) -> Work:
    return Work(
        agent=run.agent.name if run.agent else "",
        task_id=run.subject_id,
        session_id=run.session_id,
        pid=pid_of(run.lease_owner),
        alive=bool(run.held) and not died_here(run.lease_owner),
        started_at=run.started_at,
        last_update=run.last_update or run.started_at,
        tool_calls=run.tool_calls,
        total_tokens=run.tokens_in + run.tokens_out,
        last_tool=run.last_tool or "",
        last_file=run.last_file or "",
        summary=run.said or "",
        created=touched[0],
        edited=touched[1],
    )
