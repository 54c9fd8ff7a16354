"""The list of tasks as bytes: a row that has not changed is not written twice.

A board asks for hundreds of rows again and again, of which a few have changed. PostgreSQL names every
version of a row: `xmin`, the transaction that wrote it, and `ctid`, its place (a transaction may write
one row twice). What was written for (id, xmin, ctid) stays true, whoever changes the row and however.
Whoever writes an Assessment changes its task, too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING
from uuid import UUID

from apps.core.actor import Scope
from apps.core.rows import execute
from apps.surfaces.polpo import SURFACE
from apps.tasks.selectors import MOST_LISTED, assessments_of, tasks_by_id
from apps.tasks.wire import task_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor

MOST_BYTES = 64 * 1024 * 1024  # remembered in one process
UUID_LENGTH = 36

_VERSIONS = """SELECT id::text || xmin::text || ctid::text FROM tasks_task WHERE workspace_id = %s
   AND (%s::text[] IS NULL OR status = ANY(%s)) AND (%s::text IS NULL OR "group" = %s)
   AND (%s::text IS NULL OR assign_to = %s) ORDER BY created_at DESC, id DESC LIMIT %s"""


class Written:
    """What rows looked like on the wire, the longest known forgotten first. For all threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def find(self, versions: Sequence[str]) -> dict[str, bytes]:
        """Without the lock: what is forgotten meanwhile is written anew."""
        known = self._known.get
        return {version: body for version in versions if (body := known(version)) is not None}

    def keep(self, made: dict[str, bytes]) -> None:
        with self._lock:
            for version, body in made.items():
                if version not in self._known:
                    self._known[version] = body
                    self._size += len(body)
            while self._size > MOST_BYTES:
                _, gone = self._known.popitem(last=False)
                self._size -= len(gone)


_written = Written()


def tasks_as_json(
    actor: Actor,
    *,
    statuses: Sequence[str] = (),
    group: str | None = None,
    assign_to: str | None = None,
    limit: int = MOST_LISTED,
) -> bytes:
    """The newest `limit` tasks that fit every filter, oldest first, as a JSON array.

    One query when nothing has changed since it was last asked for, three otherwise.
    """
    actor.need(Scope.READ)
    wanted = list(statuses) or None
    rows = execute(
        _VERSIONS,
        [actor.workspace_id, wanted, wanted, group, group, assign_to, assign_to, limit],
    )
    versions = [version for (version,) in reversed(rows)]
    bodies = _written.find(versions)
    if missing := [version for version in versions if version not in bodies]:
        made = _write(actor, missing)
        _written.keep(made)
        bodies |= made
    return b"[" + b",".join(bodies[version] for version in versions if version in bodies) + b"]"


def _write(actor: Actor, versions: Sequence[str]) -> dict[str, bytes]:
    """The rows behind `versions`. One that changes meanwhile is shown as it is now."""
    ids = {UUID(version[:UUID_LENGTH]): version for version in versions}
    tasks = tasks_by_id(actor, ids)
    judged = assessments_of(actor, [task_id for task_id, task in tasks.items() if task.result])
    return {
        ids[task_id]: SURFACE.dumps(task_json(task, judged.get(task_id, ())))
        for task_id, task in tasks.items()
    }
