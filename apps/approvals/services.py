"""Asking and deciding. A request is decided once, in time, and never by the one who asked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.accounts.audit import record_change
from apps.approvals.errors import AlreadyDecided, ApprovalOverdue, NotTheRequester, SelfApproval
from apps.approvals.events import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalWithdrawn,
)
from apps.approvals.models import Approval, ApprovalKind, ApprovalStatus
from apps.approvals.selectors import get_approval, latest_for_call
from apps.core.actor import Actor, CallerKind, Role, Scope
from apps.core.clock import now
from apps.core.errors import Forbidden, InvalidInput
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from apps.approvals.events import ApprovalFact

Decision = Literal["approve", "reject"]

MAX_TEXT = 4_000  # characters
MAX_CONTEXT = 64 * 1024  # bytes of JSON
MAX_OPTIONS = 20
MAX_NOTE = 1_000
MAX_WAIT = 30 * 24 * 3600.0  # seconds
USE_WINDOW = timedelta(hours=1)  # how long a permission given may be used

NOT_HUMAN = frozenset({CallerKind.ENGINE, CallerKind.SYSTEM})

_locks: list[Callable[[Approval], None]] = []


def lock_with(lock: Callable[[Approval], None]) -> None:
    """Have `lock(approval)` run in the transaction that settles a request, before its row is taken.

    What a decision sets going is locked first: else two who meet in the middle wait for each other.
    """
    if lock not in _locks:
        _locks.append(lock)


def _lock_subject(approval: Approval) -> None:
    for lock in _locks:
        lock(approval)


def request(
    actor: Actor,
    *,
    kind: str = ApprovalKind.ACTION,
    action: str,
    reason: str = "",
    context: Mapping[str, Any] | None = None,
    options: Sequence[Any] = (),
    subject_type: str = "",
    subject_id: UUID | None = None,
    session_id: UUID | None = None,
    binding: str = "",
    expires_in: float | None = 3600,
) -> Approval:
    """Ask a human. With a `binding`, a request already pending for the same call is returned.

    `expires_in` seconds, None: never. Raises InvalidInput (too long, unknown kind).
    """
    actor.need(Scope.WRITE)
    approval = Approval(
        workspace_id=actor.workspace_id,
        kind=kind,
        action=action,
        reason=reason,
        context=dict(context or {}),
        options=list(options),
        subject_type=subject_type,
        subject_id=subject_id,
        session_id=session_id,
        binding=binding,
    )
    _check_request(approval, expires_in)
    if expires_in is not None:
        approval.expires_at = now() + timedelta(seconds=expires_in)
    if actor.kind not in NOT_HUMAN:
        approval.requested_by_id, approval.requested_token = actor.user_id, actor.token_id
    return _save_once(actor, approval)


def raise_request(
    actor: Actor,
    *,
    action: str,
    subject_type: str,
    subject_id: UUID,
    reason: str = "",
    context: Mapping[str, Any] | None = None,
) -> tuple[Approval, ApprovalRequested]:
    """As `request`, for a caller whose transaction goes on: it publishes the fact itself, last.

    Nothing but a decision ends the wait.
    """
    actor.need(Scope.WRITE)
    approval = Approval(
        workspace_id=actor.workspace_id,
        action=action,
        reason=reason,
        context=dict(context or {}),
        subject_type=subject_type,
        subject_id=subject_id,
    )
    _check_request(approval, None)
    if actor.kind not in NOT_HUMAN:
        approval.requested_by_id, approval.requested_token = actor.user_id, actor.token_id
    return approval, _put(actor, approval)


def decide(
    actor: Actor,
    approval_id: UUID,
    *,
    decision: Decision,
    note: str = "",
    answer: Any = None,
) -> Approval:
    """Decide once. A question is approved by answering it.

    Raises NotFound, AlreadyDecided, ApprovalOverdue, SelfApproval, Forbidden, InvalidInput.
    """
    actor.need(Scope.WRITE)
    approval = get_approval(actor, approval_id)
    _check_decider(actor, approval)
    status = _status_after(approval, decision, answer)
    _check_answer(note, answer)
    with transaction.atomic():
        _lock_subject(approval)
        # Claim by conditional update: of two deciders at once exactly one counts a row.
        if not _still_pending(actor, approval_id).update(
            status=status,
            answer=answer,
            note=note,
            decided_by_id=actor.user_id,
            decided_at=Now(),
            expires_at=now() + USE_WINDOW,
        ):
            raise _too_late(actor, approval_id)
        approval.refresh_from_db()
        _record(actor, approval, f"approval.{status}", reason=note)
        fact = ApprovalDecided(
            **_about(approval), status=status, decided_by=approval.decided_by_id, note=note
        )
        publish(actor, fact)
    return approval


def withdraw(actor: Actor, approval_id: UUID) -> Approval:
    """Take a request back: its requester, or an administrator. Raises as `decide` does."""
    actor.need(Scope.WRITE)
    approval = get_approval(actor, approval_id)
    if not _is_requester(actor, approval) and actor.scope < Scope.ADMIN:
        raise NotTheRequester
    with transaction.atomic():
        _lock_subject(approval)
        if not _still_pending(actor, approval_id).update(
            status=ApprovalStatus.WITHDRAWN, decided_at=Now()
        ):
            raise _too_late(actor, approval_id)
        return _say_it_is_over(actor, approval_id, ApprovalWithdrawn)


def withdraw_unanswered(actor: Actor, approval_id: UUID) -> bool:
    """What asked has come to its end: nobody need decide any more. False when somebody did."""
    actor.need(Scope.WRITE)
    with transaction.atomic():
        rows = Approval.objects.in_workspace(actor.workspace_id).filter(
            id=approval_id, status=ApprovalStatus.PENDING
        )
        if not rows.update(status=ApprovalStatus.WITHDRAWN, decided_at=Now()):
            return False
        _say_it_is_over(actor, approval_id, ApprovalWithdrawn)
    return True


def use(actor: Actor, approval_id: UUID) -> bool:
    """Spend a permission: True exactly once, and only while it is approved and fresh."""
    actor.need(Scope.WRITE)
    rows = Approval.objects.in_workspace(actor.workspace_id).filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
        id=approval_id,
        status=ApprovalStatus.APPROVED,
        used_at__isnull=True,
    )
    return rows.update(used_at=Now()) == 1


def expire(actor: Actor, approval_id: UUID) -> bool:
    """Mark one overdue request as expired; False when it was decided, or is not overdue."""
    actor.need(Scope.ADMIN)
    with transaction.atomic():
        _lock_subject(get_approval(actor, approval_id))
        rows = Approval.objects.in_workspace(actor.workspace_id).filter(
            id=approval_id, status=ApprovalStatus.PENDING, expires_at__lte=Now()
        )
        if not rows.update(status=ApprovalStatus.EXPIRED, decided_at=Now()):
            return False
        _say_it_is_over(actor, approval_id, ApprovalExpired)
    return True


def _say_it_is_over(actor: Actor, approval_id: UUID, fact: type[ApprovalFact]) -> Approval:
    """Record and tell that nobody need decide this request any more; the row as it stands now."""
    approval = get_approval(actor, approval_id)
    _record(actor, approval, fact.name)
    publish(actor, fact(**_about(approval)))
    return approval


def _save_once(actor: Actor, approval: Approval) -> Approval:
    try:
        with transaction.atomic():
            return _save_request(actor, approval)
    except IntegrityError:
        # Two asked for the same call at once: the first one's request stands for both.
        pending = latest_for_call(actor, approval.binding) if approval.binding else None
        if pending is None:
            raise
        return pending


def _save_request(actor: Actor, approval: Approval) -> Approval:
    publish(actor, _put(actor, approval))
    return approval


def _put(actor: Actor, approval: Approval) -> ApprovalRequested:
    approval.save(force_insert=True)
    _record(actor, approval, "approval.requested", reason=approval.reason[:500])
    return ApprovalRequested(
        **_about(approval),
        reason=approval.reason,
        options=approval.options,
        expires_at=approval.expires_at,
    )


def _still_pending(actor: Actor, approval_id: UUID) -> Any:
    return Approval.objects.in_workspace(actor.workspace_id).filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
        id=approval_id,
        status=ApprovalStatus.PENDING,
    )


def _too_late(actor: Actor, approval_id: UUID) -> Exception:
    approval = get_approval(actor, approval_id)
    if approval.status in {ApprovalStatus.PENDING, ApprovalStatus.EXPIRED}:
        return ApprovalOverdue()
    return AlreadyDecided(status=approval.status)


def _is_requester(actor: Actor, approval: Approval) -> bool:
    by_user = actor.user_id is not None and actor.user_id == approval.requested_by_id
    by_token = actor.token_id is not None and actor.token_id == approval.requested_token
    return by_user or by_token


def _check_decider(actor: Actor, approval: Approval) -> None:
    if actor.kind in NOT_HUMAN or actor.role is Role.VIEWER:
        raise Forbidden("You may not decide requests in this workspace.")
    # A session token may be in an untrusted browser: it answers questions, it permits nothing.
    if actor.kind is CallerKind.SESSION_TOKEN and approval.kind != ApprovalKind.QUESTION:
        raise Forbidden("A session token may not decide this.")
    if _is_requester(actor, approval):
        raise SelfApproval


def _status_after(approval: Approval, decision: str, answer: Any) -> ApprovalStatus:
    if decision not in {"approve", "reject"}:
        raise InvalidInput(fields={"decision": ["Must be approve or reject."]})
    if decision == "reject":
        return ApprovalStatus.DENIED
    if approval.kind != ApprovalKind.QUESTION:
        return ApprovalStatus.APPROVED
    if answer is None:
        raise InvalidInput(fields={"answer": ["A question needs an answer."]})
    return ApprovalStatus.ANSWERED


def _check_request(asked: Approval, expires_in: float | None) -> None:
    fields: dict[str, list[str]] = {}
    if asked.kind not in ApprovalKind.values:
        fields["kind"] = [f"Must be one of {', '.join(ApprovalKind.values)}."]
    if not asked.action.strip() or len(asked.action) > MAX_TEXT:
        fields["action"] = [f"Must have 1 to {MAX_TEXT} characters."]
    if len(asked.reason) > MAX_TEXT:
        fields["reason"] = [f"Must have at most {MAX_TEXT} characters."]
    if _size(asked.context) > MAX_CONTEXT:
        fields["context"] = [f"Must have at most {MAX_CONTEXT} bytes."]
    if len(asked.options) > MAX_OPTIONS or _size(asked.options) > MAX_TEXT:
        fields["options"] = [f"At most {MAX_OPTIONS}, and {MAX_TEXT} characters in all."]
    if expires_in is not None and not 0 < expires_in <= MAX_WAIT:
        fields["expires_in"] = [f"Must be between 0 and {MAX_WAIT:.0f} seconds."]
    if "\x00" in asked.action + asked.reason:
        fields["action"] = ["May not contain NUL."]
    if fields:
        raise InvalidInput(fields=fields)


def _check_answer(note: str, answer: Any) -> None:
    if len(note) > MAX_NOTE or "\x00" in note:
        raise InvalidInput(fields={"note": [f"Must have at most {MAX_NOTE} characters."]})
    if _size(answer) > MAX_CONTEXT:
        raise InvalidInput(fields={"answer": [f"Must have at most {MAX_CONTEXT} bytes."]})


def _size(value: Any) -> int:
    return len(json.dumps(value, default=str))


def _about(approval: Approval) -> dict[str, Any]:
    run = approval.subject_id if approval.subject_type == "run" else None
    return {
        "approval_id": approval.id,
        "kind": approval.kind,
        "action": approval.action,
        "subject_type": approval.subject_type,
        "subject_id": approval.subject_id,
        "session_id": approval.session_id,
        "run_id": run,
    }


def _record(actor: Actor, approval: Approval, verb: str, *, reason: str = "") -> None:
    record_change(
        actor,
        verb,
        "approval",
        approval.id,
        before=None if verb == "approval.requested" else {"status": "pending"},
        after={"status": approval.status, "action": approval.action[:500]},
        reason=reason[:500],
    )
