"""The record of calls of the management API, as `/rpc/server/logs` shows it (contract/muxi.md §3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.rows import execute, insert
from apps.formations.models import ServerCall

if TYPE_CHECKING:
    from apps.core.actor import Actor

LONGEST_PATH = 300
# By age, over all workspaces, in short statements.
_FORGET = """DELETE FROM formations_servercall WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM formations_servercall WHERE at < now() - make_interval(days => %s) LIMIT %s))
    RETURNING 1"""


def note_call(
    actor: Actor, *, method: str, path: str, status: int, milliseconds: float
) -> ServerCall:
    """One proven call; its commit waits for no disk."""
    row = ServerCall(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        method=method[:10],
        path=path.replace("\x00", "")[:LONGEST_PATH],
        ip=actor.ip[:45],
        status=status,
        milliseconds=round(milliseconds, 3),
        at=now(),
    )
    insert(row)
    return row


def forget_old_calls(days: int, *, batch: int = 5_000, batches: int = 100) -> int:
    """Delete the calls older than `days`; how many went."""
    gone = 0
    for _ in range(batches):
        count = len(execute(_FORGET, [days, batch]))
        gone += count
        if count < batch:
            break
    return gone
