"""Opening, changing and ending sessions (contract/polymux.md §4.2-4.4)."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.accounts.services import record_change
from apps.approvals.models import ApprovalKind
from apps.conversations.errors import SessionLimitReached, SessionNotActive, SessionNotFound
from apps.conversations.events import SessionChanged, SessionCreated, SessionEndedFact
from apps.conversations.models import EndReason, Session, SessionStatus
from apps.conversations.selectors import active_sessions, visible
from apps.conversations.services.turns import cancel_turns, pending_of, start_turn_if_due
from apps.core.actor import Actor, CallerKind, Scope
from apps.core.errors import InvalidInput, ScopeInsufficient
from apps.core.rows import execute, insert
from apps.events.services import publish
from apps.runs.budgets import cap_session
from apps.workspaces.selectors import get_workspace, read_preferences
from apps.workspaces.services import expire_session_tokens, issue_session_token

if TYPE_CHECKING:
    from uuid import UUID

    from apps.workspaces.preferences import Preferences

CHANGEABLE = ("title", "metadata", "browser_mode", "humanize", "cloaked")
SWEEP_BATCH = 200


@transaction.atomic
def create_session(
    actor: Actor,
    *,
    title: str = "New Workflow",
    agent_id: UUID | None = None,
    workflow_id: UUID | None = None,
    prompt: str = "",
    attachments: list[dict[str, Any]] | None = None,
    browser_mode: str = "server",
    token_budget: int | None = None,
    metadata: dict[str, str] | None = None,
    source: str = "polymux",
    external_key: str = "",
    max_active: int | None = None,
) -> tuple[Session, str]:
    """A new session and its session token (shown once); `prompt` becomes its first user message.

    Raises SessionLimitReached at the credential's limit of active sessions (contract §1.5).
    """
    _need_place(actor, max_active or settings.MAX_ACTIVE_SESSIONS)
    preferences = _preferences(actor, token_budget)
    session = Session(
        workspace_id=actor.workspace_id,
        user_id=actor.user_id,
        token_id=actor.token_id,
        agent_id=agent_id,
        workflow_id=workflow_id,
        title=title,
        browser_mode=browser_mode,
        token_budget=preferences.token_budget or None,
        metadata=metadata or {},
        source=source,
        external_key=external_key,
        position=time.time(),
    )
    insert(session)
    cap_session(actor, session.pk, preferences)
    raw = issue_session_token(actor, session.pk)
    if prompt:
        _say_first(actor, session, prompt, attachments)
    _audit(actor, "session.created", session, after={"title": title, "agent_id": agent_id})
    publish(actor, SessionCreated(session_id=session.pk, title=title, source=source))
    return session, raw


def _preferences(actor: Actor, token_budget: int | None) -> Preferences:
    """The workspace's, with what the caller asks for in their place."""
    chosen = read_preferences(get_workspace(actor).settings)
    return replace(chosen, token_budget=token_budget) if token_budget else chosen


def _say_first(
    actor: Actor, session: Session, prompt: str, attachments: list[dict[str, Any]] | None
) -> None:
    from apps.conversations.services.messages import add_user_message

    add_user_message(actor, session, content=prompt, attachments=attachments)


def _need_place(actor: Actor, limit: int) -> None:
    actor.need(Scope.WRITE)
    if actor.kind is CallerKind.SESSION_TOKEN:
        raise ScopeInsufficient(required="write")
    if actor.token_id:
        _claim_place(actor.token_id, limit)


def _claim_place(token_id: UUID, limit: int) -> None:
    """Count under a lock of the credential: two creates at once must not both see the last place."""
    execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [str(token_id)])
    if active_sessions(token_id) >= limit:
        raise SessionLimitReached(limit=limit)


def lock_session(actor: Actor, session_id: UUID) -> Session:
    """The session's row, locked: what every verb on one session starts with."""
    session = visible(actor).select_for_update().filter(pk=session_id).first()
    if session is None:
        raise SessionNotFound
    return session


@transaction.atomic
def update_session(actor: Actor, session_id: UUID, **changes: Any) -> Session:
    """Change title, metadata, browser_mode, humanize or cloaked; other names are InvalidInput."""
    actor.need(Scope.WRITE)
    unknown = set(changes) - set(CHANGEABLE)
    if unknown:
        raise InvalidInput(fields={name: ["Unknown field."] for name in sorted(unknown)})
    session = lock_session(actor, session_id)
    changed = tuple(name for name, value in changes.items() if getattr(session, name) != value)
    if changed:
        before = {name: getattr(session, name) for name in changed}
        for name in changed:
            setattr(session, name, changes[name])
        session.save(update_fields=[*changed, "updated_at"])
        after = {name: changes[name] for name in changed}
        _audit(actor, "session.updated", session, before=before, after=after)
        publish(
            actor, SessionChanged(session_id=session.pk, status=session.status, changed=changed)
        )
    return session


@transaction.atomic
def end_session(
    actor: Actor, session_id: UUID, *, reason: str = EndReason.STOPPED, note: str = ""
) -> Session:
    """End it for good: its turn stops, its session token dies. Idempotent.

    `note`: why, in a person's words; kept in the audit log only.
    """
    actor.need(Scope.WRITE)
    session = lock_session(actor, session_id)
    if session.status != SessionStatus.ENDED:
        finish(actor, session, reason, note=note)
    return session


def finish(actor: Actor, session: Session, reason: str, *, note: str = "") -> None:
    """End a locked session: turns first, then the row, the token and the news."""
    before = {"status": session.status}
    cancel_turns(actor, session.pk, reason="session ended")
    session.status, session.end_reason = SessionStatus.ENDED, reason
    session.ended_at = timezone.now()
    session.save(update_fields=["status", "end_reason", "ended_at", "updated_at"])
    expire_session_tokens(actor, session.pk)
    after = {"end_reason": reason}
    _audit(actor, "session.ended", session, before=before, after=after, reason=note)
    publish(actor, SessionEndedFact(session_id=session.pk, end_reason=reason))


@transaction.atomic
def delete_session(actor: Actor, session_id: UUID) -> None:
    """End it if active, then hide it everywhere; its rows stay for the audit."""
    actor.need(Scope.WRITE)
    if actor.kind is CallerKind.SESSION_TOKEN:
        raise ScopeInsufficient(required="write")
    session = lock_session(actor, session_id)
    if session.status != SessionStatus.ENDED:
        finish(actor, session, EndReason.DELETED)
    session.deleted_at = timezone.now()
    session.external_key = ""  # the caller's name for it is free again
    session.save(update_fields=["deleted_at", "external_key", "updated_at"])
    _audit(actor, "session.deleted", session, before={"title": session.title})


@transaction.atomic
def pause_session(actor: Actor, session_id: UUID) -> Session:
    """The agent stops, the human drives. Raises SessionNotActive when it has ended."""
    actor.need(Scope.WRITE)
    session = lock_session(actor, session_id)
    if session.status == SessionStatus.ENDED:
        raise SessionNotActive
    if session.status != SessionStatus.PAUSED:
        _audit(actor, "session.paused", session, before={"status": session.status})
        cancel_turns(actor, session.pk, reason="paused")
        set_status(actor, session, SessionStatus.PAUSED)
    return session


@transaction.atomic
def resume_session(actor: Actor, session_id: UUID) -> Session:
    """Let the agent go on; a message left unanswered while paused is answered now."""
    actor.need(Scope.WRITE)
    session = lock_session(actor, session_id)
    if session.status == SessionStatus.ENDED:
        raise SessionNotActive
    if session.status == SessionStatus.PAUSED:
        _audit(actor, "session.resumed", session)
        cancel_turns(actor, session.pk, reason="resumed")  # one that waits for a larger budget
        set_status(actor, session, SessionStatus.IDLE)
        start_turn_if_due(actor, session)
    return session


def _audit(actor: Actor, action: str, session: Session, **change: Any) -> None:
    record_change(actor, action, "session", session.pk, **change)


def set_status(actor: Actor, session: Session, status: str) -> None:
    session.status, session.last_active_at = status, timezone.now()
    session.save(update_fields=["status", "last_active_at", "updated_at"])
    publish(actor, SessionChanged(session_id=session.pk, status=status, changed=("status",)))


def touch_session(actor: Actor, session_id: UUID) -> None:
    """Somebody is attached: the idle clock starts anew."""
    visible(actor).filter(pk=session_id).update(last_active_at=timezone.now())


def end_idle_sessions() -> int:
    """Sweeper: end what nobody worked in or watched for SESSION_IDLE_MINUTES. Bounded."""
    before = timezone.now() - timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    idle = Session.unscoped.filter(last_active_at__lt=before).exclude(
        status__in=[SessionStatus.ENDED, SessionStatus.RUNNING]
    )
    rows = list(
        idle.order_by("last_active_at").values_list("workspace_id", "pk", "status")[:SWEEP_BATCH]
    )
    return sum(
        _end_if_idle(workspace_id, session_id, before) for workspace_id, session_id, _ in rows
    )


@transaction.atomic
def _end_if_idle(workspace_id: UUID, session_id: UUID, before: Any) -> bool:
    actor = Actor.for_system(workspace_id)
    session = Session.unscoped.select_for_update(skip_locked=True).filter(pk=session_id).first()
    if session is None or session.last_active_at >= before or session.status == SessionStatus.ENDED:
        return False
    asked = any(asks.kind == ApprovalKind.BUDGET for _, asks in pending_of(actor, session_id))
    finish(actor, session, EndReason.BUDGET_EXCEEDED if asked else EndReason.IDLE_TIMEOUT)
    return True
