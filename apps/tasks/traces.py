"""What the journal of an attempt tells: its last words, and the call it hangs in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.runs.models import Step, StepKind

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

LONGEST_ARGUMENTS = 500  # characters shown


def _steps(workspace_id: UUID, run_id: UUID) -> QuerySet[Step]:
    rows: QuerySet[Step] = Step.objects.in_workspace(workspace_id).filter(run_id=run_id)
    return rows.order_by("-index")


def last_words(workspace_id: UUID, run_id: UUID) -> str:
    """The text of the newest reply that had any, as far as it is journaled."""
    replies = _steps(workspace_id, run_id).filter(kind=StepKind.MODEL)
    texts = replies.values_list("output__text", flat=True)[:20]
    return next((text for text in texts if text), "")


def diagnosis(workspace_id: UUID, run_id: UUID) -> str:
    """What the run was in the middle of, in words: a tool call that hangs, or the model's reply."""
    reply = _steps(workspace_id, run_id).filter(kind=StepKind.MODEL).first()
    if reply is None:
        return "It was waiting for the model's first reply."
    later = _steps(workspace_id, run_id).filter(index__gt=reply.index).exclude(status="cancelled")
    ended = dict(later.values_list("call_id", "finished_at"))
    call = _first_open(reply, set(ended))
    since = max([reply.finished_at, *ended.values()])
    seconds = max(0.0, (timezone.now() - since).total_seconds())
    if call is None:
        return f"It was waiting for the model's reply for {seconds:.0f} s."
    return f"It was in the tool {call['name']} for {seconds:.0f} s: {_shown(call)}"


def _first_open(reply: Step, answered: set[str]) -> dict[str, Any] | None:
    calls = (reply.output or {}).get("calls") or [] if reply.status == "ok" else []
    return next((call for call in calls if call["id"] not in answered), None)


def _shown(call: dict[str, Any]) -> str:
    return json.dumps(call.get("arguments") or {}, ensure_ascii=False)[:LONGEST_ARGUMENTS]
