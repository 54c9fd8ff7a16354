"""Turns that an end user's application asks for by name (contract/muxi.md §5.5-5.6): the rows beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.conversations.errors import TurnInProgress
from apps.conversations.events import FileAttached
from apps.conversations.models import TurnRequest
from apps.runs.models import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db import IntegrityError

    from apps.conversations.models import Attachment, Session
    from apps.runs.models import Run


END_USER = "end_user"  # key of `Run.input`: for whom, where the turn is an end user's


@dataclass(frozen=True, slots=True)
class Asked:
    """`name`: the request's id. `webhook`: `{url, retries, timeout}` of who is told of the end."""

    name: str
    webhook: dict[str, Any] | None = None


def request_row(session: Session, run_id: UUID, asked: Asked) -> TurnRequest:
    return TurnRequest(
        workspace_id=session.workspace_id,
        name=asked.name,
        end_user=session.end_user,
        session_id=session.pk,
        run_id=run_id,
        webhook=asked.webhook,
        created_at=timezone.now(),
    )


def names_request(error: IntegrityError) -> bool:
    """True when what stands in the way is another request of that name."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", "") == "turn_request_once"


def need_rest(turns: Iterable[Run], *, accepted: bool) -> None:
    """TurnInProgress when one of a session's open turns must not be cut short by another.

    That is one that runs; and one that is queued, where turns are `accepted` to be done later.
    """
    busy = {RunStatus.RUNNING, RunStatus.QUEUED} if accepted else {RunStatus.RUNNING}
    if any(run.status in busy for run in turns):
        raise TurnInProgress


def named_files(files: Sequence[Attachment]) -> dict[str, Any]:
    """A message's metadata: the files that were said with it."""
    named = [{"id": str(file.pk), "name": file.name} for file in files]
    return {"attachments": named} if named else {}


def attached(file: Attachment) -> FileAttached:
    return FileAttached(session_id=file.session_id, file_id=file.pk, file_name=file.name)
