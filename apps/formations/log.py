"""A formation's log: the facts of its home, a line each (contract/muxi.md §3.7).

`stderr` is what failed. Lines hold ids and what a fact says of itself, never what was said in a session.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.events.selectors import latest_events
from apps.formations.claiming import inside_of

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.events.selectors import EventRow
    from apps.formations.models import Formation

STDOUT, STDERR = "stdout", "stderr"
LONGEST_LINE = 2_000  # characters
_FAILED = re.compile(r"(?:^|[._])(?:failed|crashed|refused|expired|lost|broken)$")


def is_failure(row: EventRow) -> bool:
    payload: dict[str, Any] = row.payload
    return _FAILED.search(row.name) is not None or bool(payload.get("error"))


def line_of(row: EventRow) -> str:
    """`2026-05-21T10:00:00.123Z run.finished {"status":"completed"}`."""
    shown = json.dumps(
        row.payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str
    )
    return f"{rfc3339(row.created_at)} {row.name} {shown}"[:LONGEST_LINE]


def read_log(actor: Actor, formation: Formation, lines: int) -> dict[str, list[str]]:
    """The newest lines of each stream, oldest first: of the home's last `lines` facts."""
    found: dict[str, list[str]] = {STDOUT: [], STDERR: []}
    for row in latest_events(inside_of(actor, formation), limit=lines):
        found[STDERR if is_failure(row) else STDOUT].append(line_of(row))
    return found
