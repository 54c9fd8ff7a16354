"""What one end user owns in a formation, made for real, and how each kind of id is spelled in a path.

A route with a new kind of id fails the walk until its kind is added to `KINDS`: make one such thing of
`user` in `bury`, give `nowhere` an id that nobody has, and say here how it looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.conversations.models import TurnRequest
from apps.conversations.services import restore_session
from apps.core.clock import now
from apps.core.ids import uuid7, wire_id
from apps.formations.services import add_credential
from apps.knowledge.services import remember
from apps.runs.models import Run, RunStatus
from apps.tasks.services.prompts import create_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.support.formations import Made

# Open to everybody by contract: health, documents, the agent card.
PUBLIC = re.compile(r"/(?:v1/?|v1/health|docs/?|openapi\.json|\.well-known/.*)?")
# Kinds of ids that are no user's own: what the formation has is the same for all of its users.
SHARED: frozenset[str] = frozenset({"agent_id", "key", "server_id", "name", "identifier"})
# A body that the route would take from its owner, so that a refusal is about who asks.
# Without messages a conversation cannot be restored: restoring makes one where there is none.
BODIES: dict[str, Any] = {"POST /v1/sessions/{session_id}/restore": {}}


@dataclass(frozen=True)
class Treasure:
    """Ids of things of one end user; `nowhere()` has the same shape and names nothing."""

    user: str
    session_id: str
    request_id: str
    memory_id: UUID
    credential_id: UUID
    job_id: UUID


def bury(team: Made, user: str) -> Treasure:
    session = restore_session(team.home_owner, end_user=user, key="trip", messages=[])
    run = Run(workspace_id=team.home_id, session_id=session.pk, status=RunStatus.SUCCEEDED)
    run.save()
    request = TurnRequest(
        workspace_id=team.home_id,
        name="req_treasure",
        end_user=user,
        session=session,
        run=run,
        created_at=now(),
    )
    request.save()
    ours = team.home_owner
    told = {"kind": "recurring", "schedule": "0 9 * * *", "message": "Report"}
    return Treasure(
        user=user,
        session_id="trip",
        request_id=request.name,
        memory_id=remember(ours, user, "likes tea").pk,
        credential_id=add_credential(ours, user, "github", {"token": "x" * 20}).pk,
        job_id=create_job(ours, user, **told).prompt.pk,
    )


def nowhere(treasure: Treasure) -> Treasure:
    return Treasure(
        user="nobody@example.org",
        session_id="gone",
        request_id="req_nothing",
        memory_id=uuid7(),
        credential_id=uuid7(),
        job_id=uuid7(),
    )


KINDS: dict[str, Callable[[Treasure], str]] = {
    "user": lambda t: t.user,
    "session_id": lambda t: t.session_id,
    "request_id": lambda t: t.request_id,
    "agent_id": lambda _: "orchestrator",
    "key": lambda _: "OPENAI_API_KEY",
    "server_id": lambda _: "maps",
    "memory_id": lambda t: wire_id("mem", t.memory_id),
    "credential_id": lambda t: wire_id("cred", t.credential_id),
    "job_id": lambda t: wire_id("job", t.job_id),
    "name": lambda _: "greet",
    "identifier": lambda _: "telegram:7",
}
