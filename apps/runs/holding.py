"""Holding a run: the lease, the fencing token, and the process's own name.

A `Hold` is what a worker has in hand after it claimed a run. Every write of that worker carries
(owner, attempt) in its condition, so a worker that lost its lease can write nothing more.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

# The condition of every write of a worker; its values are `Hold.fence`.
HELD = "workspace_id = %s AND id = %s AND status = 'running' AND lease_owner = %s AND attempt = %s"
NODE = socket.gethostname()[:40].replace(":", "-")
_NONCE = secrets.token_hex(4)


def owner_name() -> str:
    """`host:pid:nonce`: unique to this process, readable in the console. Asked anew after a fork."""
    return f"{NODE}:{os.getpid()}:{_NONCE}"


def pid_of(owner: str) -> int:
    """The process id in an owner's name; 0 when nobody holds the run."""
    pid = owner.partition(":")[2].partition(":")[0]
    return int(pid) if pid.isdigit() else 0


def died_here(owner: str) -> bool:
    """True when `owner` was a process of this host that is no more: no need to await its lease."""
    node, pid, nonce = owner.partition(":")[0], pid_of(owner), owner.rpartition(":")[2]
    if node != NODE or not pid:
        return False
    if pid == os.getpid():
        return nonce != _NONCE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@dataclass(frozen=True, slots=True)
class Hold:
    """A claimed run: whose, which, for whom, and the token that fences out its former holders."""

    workspace_id: UUID
    run_id: UUID
    kind: str
    owner: str
    attempt: int
    session_id: UUID | None = None
    agent_id: UUID | None = None
    token_id: UUID | None = None
    user_id: UUID | None = None

    @property
    def fence(self) -> list[Any]:
        """What `HELD` compares with."""
        return [self.workspace_id, self.run_id, self.owner, self.attempt]
