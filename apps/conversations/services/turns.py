"""Starting, stopping and answering the turns of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F

from apps.approvals.models import ApprovalKind, ApprovalStatus
from apps.approvals.selectors import get_approval
from apps.approvals.services import decide
from apps.conversations.models import EndReason, Message, MessageRole, Session, SessionStatus
from apps.core.actor import Scope
from apps.runs.budgets import raise_cap
from apps.runs.models import OPEN, Run, RunStatus
from apps.runs.services import cancel_run, open_run

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.approvals.events import ApprovalDecided, ApprovalExpired
    from apps.approvals.models import Approval
    from apps.core.actor import Actor


def start_turn(
    actor: Actor,
    session: Session,
    *,
    agent_id: UUID | None = None,
    run_input: dict[str, Any] | None = None,
) -> Run:
    """Queue a turn on a locked session and mark it running. `agent_id`: not the session's own."""
    from apps.conversations.services.sessions import set_status

    set_status(actor, session, SessionStatus.RUNNING)
    return open_run(
        actor,
        kind="chat",
        session_id=session.pk,
        agent_id=agent_id or session.agent_id,
        run_input=run_input,
    )


def start_turn_if_due(actor: Actor, session: Session) -> None:
    """After a pause: answer when the last word is the user's."""
    rows = Message.objects.in_workspace(actor.workspace_id).filter(session_id=session.pk)
    last = rows.order_by("-created_at", "-id").first()
    if last is not None and last.role == MessageRole.USER:
        start_turn(actor, session)


def open_turns(actor: Actor, session_id: UUID) -> list[Run]:
    return list(_open(actor, session_id))


def lock_turns(actor: Actor, session_id: UUID) -> list[Run]:
    """The turns of the locked session that have not ended, locked, oldest first."""
    return list(_open(actor, session_id).select_for_update())


def _open(actor: Actor, session_id: UUID) -> QuerySet[Run]:
    """Oldest first, without `input`: that of a completion that waits is a whole request."""
    runs = Run.objects.in_workspace(actor.workspace_id).filter(session_id=session_id)
    return runs.filter(status__in=OPEN).defer("input").order_by("created_at")


def cancel_turns(actor: Actor, session_id: UUID, *, reason: str) -> int:
    """Stop every turn of the locked session that has not ended. Returns how many.

    All are locked before the first is told of: what locks the stream head must not wait for a run.
    """
    turns = lock_turns(actor, session_id)
    for run in turns:
        cancel_run(actor, run.pk, reason=reason)
    return len(turns)


@transaction.atomic
def stop_turn(actor: Actor, session_id: UUID) -> bool:
    """The `stop_agent` frame: stop the turn under way, keep what was said. False: there was none."""
    from apps.conversations.services.sessions import lock_session

    actor.need(Scope.WRITE)
    lock_session(actor, session_id)
    return bool(cancel_turns(actor, session_id, reason="stopped"))


def pending_of(actor: Actor, session_id: UUID) -> list[tuple[Run, Approval]]:
    """Turns that rest for a human, with what they ask."""
    return [
        (run, get_approval(actor, run.waiting_for))
        for run in open_turns(actor, session_id)
        if run.status == RunStatus.WAITING and run.waiting_for
    ]


def answer_question(actor: Actor, session: Session, content: str) -> bool:
    """An ordinary message answers the question the agent asked (contract/polpo.md §11)."""
    if session.status != SessionStatus.WAITING:
        return False
    for _, approval in pending_of(actor, session.pk):
        if approval.kind == ApprovalKind.QUESTION:
            decide(actor, approval.pk, decision="approve", answer=content)
            return True
    return False


@transaction.atomic
def decide_pending(
    actor: Actor, session_id: UUID, approval_id: UUID, *, approved: bool, answer: Any = None
) -> None:
    """The `approval_provided` frame: decide what a turn of this session waits for."""
    from apps.approvals.errors import ApprovalNotFound
    from apps.conversations.services.sessions import lock_session

    actor.need(Scope.WRITE)
    session = lock_session(actor, session_id)
    if approval_id not in [approval.pk for _, approval in pending_of(actor, session.pk)]:
        raise ApprovalNotFound
    decide(actor, approval_id, decision="approve" if approved else "reject", answer=answer)


# --- What a decision means to the session that waited for it ---------------------------------------
def go_on_after(actor: Actor, fact: ApprovalDecided) -> None:
    """The turn was woken by `runs`; the session may spend more, or is over when its budget stays shut."""
    if fact.session_id is None or fact.run_id is None or fact.kind != ApprovalKind.BUDGET:
        return
    if fact.status == ApprovalStatus.APPROVED:
        _allow_more(actor, fact, fact.session_id)
    else:
        _end_spent(actor, fact.session_id)


def give_up_after(actor: Actor, fact: ApprovalExpired) -> None:
    """Nobody allowed more in time (contract/polymux.md §4.2)."""
    if fact.session_id is not None and fact.kind == ApprovalKind.BUDGET:
        _end_spent(actor, fact.session_id)


def _allow_more(actor: Actor, fact: ApprovalDecided, session_id: UUID) -> None:
    approval = get_approval(actor, fact.approval_id)
    answer = approval.answer if isinstance(approval.answer, dict) else {}
    extra = answer.get("extra_tokens") or approval.context["token_budget"]
    raise_cap(actor, "session", session_id, extra_tokens=extra)
    Session.objects.in_workspace(actor.workspace_id).filter(pk=session_id).update(
        token_budget=F("token_budget") + extra
    )


def _end_spent(actor: Actor, session_id: UUID) -> None:
    from apps.conversations.services.sessions import finish

    sessions = Session.objects.in_workspace(actor.workspace_id).select_for_update()
    session = sessions.filter(pk=session_id).exclude(status=SessionStatus.ENDED).first()
    if session is not None:
        finish(actor, session, EndReason.BUDGET_EXCEEDED)
