"""The log's rows, for the readers inside `events`. Others ask `selectors`, which take an Actor."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError
from django.db.models import Min

from apps.events.models import Event, StreamHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from uuid import UUID

logger = logging.getLogger(__name__)

MOST_ROWS = 500
MOST_SCANNED = 50_000  # facts looked through for where a replay begins


@dataclass(frozen=True, slots=True)
class EventRow:
    """One fact as it stands in the log."""

    seq: int
    name: str
    payload: dict[str, Any]
    session_id: UUID | None
    run_id: UUID | None
    subject_type: str
    subject_id: UUID | None
    actor_kind: str
    user_id: UUID | None
    request_id: str
    created_at: datetime
    # Wire forms made once and shared by every socket that sends them; see `hub.py`.
    wire: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


_COLUMNS = (
    "seq",
    "name",
    "payload",
    "session_id",
    "run_id",
    "subject_type",
    "subject_id",
    "actor_kind",
    "user_id",
    "request_id",
    "created_at",
)


# A fact carries ids; what a stream tells of them is read with it, in one query for a batch of rows.
# name -> fills(workspace_id, rows): each adds to `row.payload` what its own app knows.
_completers: dict[str, list[Callable[[UUID, list[EventRow]], None]]] = {}


def complete_with(name: str, fill: Callable[[UUID, list[EventRow]], None]) -> None:
    """Have `fill` complete every batch of facts called `name` as it is read. From `ready()`.

    Every reader of the log gets them: sockets, feeds, log pages. Several may fill one fact, in order.
    """
    fills = _completers.setdefault(name, [])
    if fill not in fills:
        fills.append(fill)


def _completed(workspace_id: UUID, rows: list[EventRow]) -> list[EventRow]:
    for name in {row.name for row in rows} & _completers.keys():
        batch = [row for row in rows if row.name == name]
        for fill in _completers[name]:
            _fill(fill, workspace_id, batch)
    return rows


def _fill(
    fill: Callable[[UUID, list[EventRow]], None], workspace_id: UUID, batch: list[EventRow]
) -> None:
    try:
        fill(workspace_id, batch)
    except (OperationalError, InterfaceError):
        raise  # passes: whoever reads tries again
    except Exception:
        # Else the workspace's streams would stand still at this fact for good.
        logger.exception("%d facts %s could not be completed", len(batch), batch[0].name)


def log_after(
    workspace_id: UUID,
    seq: int,
    *,
    upto: int | None = None,
    session_id: UUID | None = None,
    names: Iterable[str] | None = None,
    limit: int = MOST_ROWS,
) -> list[EventRow]:
    """Rows with seq in (seq, upto], oldest first, at most `limit`; `names`: only these facts."""
    rows = Event.objects.filter(workspace_id=workspace_id, seq__gt=seq)
    if upto is not None:
        rows = rows.filter(seq__lte=upto)
    if session_id is not None:
        rows = rows.filter(session_id=session_id)
    if names is not None:
        rows = rows.filter(name__in=sorted(names))
    found = rows.order_by("seq").values_list(*_COLUMNS)[: min(limit, 10 * MOST_ROWS)]
    return _completed(workspace_id, [EventRow(*row) for row in found])


def log_between(
    workspace_id: UUID, begin: datetime, end: datetime, *, names: Iterable[str], limit: int
) -> list[EventRow]:
    """The newest `limit` facts called `names` of [begin, end), oldest first."""
    rows = Event.objects.filter(
        workspace_id=workspace_id,
        created_at__gte=begin,
        created_at__lt=end,
        name__in=sorted(names),
    )
    found = rows.order_by("-created_at", "-seq").values_list(*_COLUMNS)[:limit]
    return _completed(workspace_id, [EventRow(*row) for row in reversed(found)])


def replay_from(
    workspace_id: UUID, seq: int, present: int, *, most: int, names: Iterable[str] | None = None
) -> int:
    """Where a reader who has everything up to `seq` begins: there, or at the newest `most` facts.

    `names`: only these facts count. `seq` beyond `present` is of another log: nothing of ours is known.
    """
    known = seq if seq <= present else 0
    begin = max(known, oldest_kept(workspace_id) - 1, present - MOST_SCANNED)
    rows = Event.objects.filter(workspace_id=workspace_id, seq__gt=begin, seq__lte=present)
    if names is not None:
        rows = rows.filter(name__in=sorted(names))
    beyond = rows.order_by("-seq").values_list("seq", flat=True)[most : most + 1]
    return next(iter(beyond), begin)


def log_end(workspace_id: UUID, *, session_id: UUID | None, limit: int) -> list[EventRow]:
    """The last rows, oldest first, as they were written: nothing is completed."""
    rows = Event.objects.filter(workspace_id=workspace_id)
    if session_id is not None:
        rows = rows.filter(session_id=session_id)
    found = rows.order_by("-seq").values_list(*_COLUMNS)[:limit]
    return [EventRow(*row) for row in reversed(found)]


def heads(workspace_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Workspace -> last number, for those that have one."""
    found = StreamHead.objects.filter(workspace_id__in=list(workspace_ids))
    return dict(found.values_list("workspace_id", "seq"))


def oldest_kept(workspace_id: UUID) -> int:
    """As `oldest`, for readers inside `events`."""
    first = Event.objects.filter(workspace_id=workspace_id).aggregate(first=Min("seq"))["first"]
    return int(first) if first is not None else heads([workspace_id]).get(workspace_id, 0) + 1


def later_than(workspace_id: UUID, seq: int, session_id: UUID, most: int) -> int:
    """How many facts of the session lie after `seq`, counted up to `most` + 1."""
    rows = Event.objects.filter(workspace_id=workspace_id, session_id=session_id, seq__gt=seq)
    return rows.order_by()[: most + 1].count()
