"""`session_state`: the whole of a session as a socket is told it (contract/polymux.md §11.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.approvals.models import Approval, ApprovalKind, ApprovalStatus
from apps.conversations.models import Session
from apps.conversations.selectors import messages_by_id
from apps.conversations.wire import session_json
from apps.core.clock import rfc3339
from apps.core.ids import wire_id
from apps.runs.models import OPEN, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.conversations.models import Message
    from apps.events.selectors import EventRow

MAX_PENDING = 50


def session_state(session: Session, *, base: str = "") -> dict[str, Any]:
    """The snapshot's payload. Two queries: it is sent on connects and on changes."""
    return session_states(session.workspace_id, [session], base=base)[0]


def session_states(
    workspace_id: UUID, sessions: Sequence[Session], *, base: str = ""
) -> list[dict[str, Any]]:
    """The snapshots of sessions of one workspace, in their order; two queries however many."""
    ids = [session.pk for session in sessions]
    runs, asked = _open_runs(workspace_id, ids), _pending(workspace_id, ids)
    return [
        _state_of(session, runs.get(session.pk), asked.get(session.pk, []), base)
        for session in sessions
    ]


def _state_of(
    session: Session, run: Run | None, asked: list[Approval], base: str
) -> dict[str, Any]:
    body = session_json(session, base=base)
    return {
        "session": body,
        "browser_agents": [],
        "stream_priorities": [],
        "browser_agent_cap": 0,
        "agent_labels": [],
        "is_running": body["is_running"],
        "running_kind": body["running_kind"] or "",
        "browser_mode": session.browser_mode,
        "humanize": session.humanize,
        "cloaked": session.cloaked,
        "pending": [approval_json(approval) for approval in asked],
        "active_run": run_json(run) if run else None,
    }


def _open_runs(workspace_id: UUID, session_ids: list[UUID]) -> dict[UUID, Run]:
    """The newest run of each session that has not ended."""
    runs = Run.objects.in_workspace(workspace_id).filter(session_id__in=session_ids)
    found = runs.filter(status__in=OPEN).defer("input").order_by("created_at")
    return {run.session_id: run for run in found if run.session_id}


def _pending(workspace_id: UUID, session_ids: list[UUID]) -> dict[UUID, list[Approval]]:
    """What each session waits for, oldest first, at most 50 each."""
    rows = Approval.objects.in_workspace(workspace_id).filter(
        session_id__in=session_ids, status=ApprovalStatus.PENDING
    )
    found: dict[UUID, list[Approval]] = {}
    for row in rows.order_by("created_at")[: MAX_PENDING * len(session_ids)]:
        asked = found.setdefault(row.session_id, []) if row.session_id else []
        if len(asked) < MAX_PENDING:
            asked.append(row)
    return found


def run_json(run: Run) -> dict[str, Any]:
    """`attempt` above 1: its first worker was lost; the turn was taken up after its last step."""
    return {
        "id": wire_id("run", run.pk),
        "status": run.status,
        "attempt": run.attempt,
        "message_id": str(run.pk),
        "started_at": rfc3339(run.started_at),
    }


def approval_json(approval: Approval) -> dict[str, Any]:
    """An open request, as `approval_request` tells it; `msg_id` is what the answer names."""
    reasons: dict[str, str] = {
        ApprovalKind.BUDGET: "budget_exceeded",
        ApprovalKind.QUESTION: "question",
    }
    body = {
        "msg_id": str(approval.pk),
        "reason": reasons.get(approval.kind, "approval"),
        "action": approval.action,
        "options": approval.options,
        "expires_at": rfc3339(approval.expires_at),
    }
    if approval.kind == ApprovalKind.BUDGET:
        body |= {key: approval.context.get(key) for key in ("tokens_used", "token_budget")}
    return body


# --- Completing facts for the stream (`events.selectors.complete_with`) ----------------------------
def complete_messages(workspace_id: UUID, rows: list[EventRow]) -> None:
    """`message.posted` carries an id; the text is read here, once for all the stream's readers."""
    known = messages_by_id(workspace_id, [UUID(row.payload["message_id"]) for row in rows])
    for row in rows:
        message = known.get(UUID(row.payload["message_id"]))
        if message is not None:
            row.payload["message"] = message_frame(message)


def message_frame(message: Message) -> dict[str, Any]:
    """The closing frame of a message: its whole text and its lasting id."""
    payload = {
        "message_id": str(message.wire_id),
        "role": message.role,
        "agent_id": message.agent_key,
        "content": message.content,
        "is_partial": False,
        "attachments": message.metadata.get("attachments", []),
        "created_at": rfc3339(message.created_at),
    }
    return payload if message.state == "complete" else payload | {"state": message.state}


def complete_states(workspace_id: UUID, rows: list[EventRow]) -> None:
    """What changed a session is told as its present state; several changes at once tell it once.

    A turn that was taken up again on another worker is such a change: its tokens begin anew.
    """
    rows = [row for row in rows if row.name != "run.started" or row.payload["attempt"] > 1]
    last = {row.session_id: row for row in rows if row.session_id}
    sessions = list(Session.objects.in_workspace(workspace_id).filter(pk__in=list(last)))
    states = session_states(workspace_id, sessions)
    for session, state in zip(sessions, states, strict=True):
        last[session.pk].payload["state"] = state


def complete_approvals(workspace_id: UUID, rows: list[EventRow]) -> None:
    ids = [UUID(row.payload["approval_id"]) for row in rows]
    known = {a.pk: a for a in Approval.objects.in_workspace(workspace_id).filter(pk__in=ids)}
    for row in rows:
        if approval := known.get(UUID(row.payload["approval_id"])):
            row.payload["request"] = approval_json(approval)


def opening_state(session: Session, *, base: str, last_seq: int, gap: bool) -> dict[str, Any]:
    """The first frame of a connection; `resync` when what the client missed is no longer kept."""
    state = session_state(session, base=base) | {"last_seq": last_seq}
    return state | {"resync": True} if gap else state
