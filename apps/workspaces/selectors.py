"""Reading workspaces, members and credentials. The hot path lives in `credentials.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import CharField, OuterRef, Q, Subquery, Value

from apps.core.actor import Caller, CallerKind, Scope
from apps.core.errors import Forbidden, NotFound, ScopeInsufficient, WorkspaceMismatch
from apps.workspaces.credentials import (
    Place,
    SuspendedActor,
    actor_in,
    actor_of_token,
    caller_at_home,
    caller_near,
    caller_of_home_key,
    caller_of_key,
    caller_of_token,
    default_workspace,
    hmac_key,
    need_admin,
    need_session,
    operator_actor,
    refuse_session_token,
)
from apps.workspaces.errors import SecretNotFound
from apps.workspaces.models import (
    ApiToken,
    Member,
    Secret,
    TokenKind,
    Workspace,
    WorkspaceStatus,
)
from apps.workspaces.preferences import Preferences, read_preferences

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor

__all__ = [
    "Place",
    "Preferences",
    "SuspendedActor",
    "TokenLimits",
    "actor_in",
    "actor_of_token",
    "caller_at_home",
    "caller_near",
    "caller_of_home_key",
    "caller_of_key",
    "caller_of_token",
    "default_workspace",
    "find_workspace_id",
    "get_member",
    "get_secret",
    "get_token",
    "get_workspace",
    "hmac_key",
    "list_keys",
    "list_members",
    "list_secrets",
    "list_tokens",
    "list_workspaces",
    "may_run_programs",
    "need_admin",
    "need_everywhere",
    "need_session",
    "need_user",
    "operator_actor",
    "read_preferences",
    "refuse_session_token",
    "token_limits",
]


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What one credential may do per minute, and how many sessions it may keep active."""

    read_per_min: int
    write_per_min: int
    max_sessions: int


def need_everywhere(caller: Caller) -> None:
    """Raise WorkspaceMismatch unless the caller is account-wide (contract/polymux.md §2.2)."""
    refuse_session_token(caller)
    if not caller.everywhere:
        raise WorkspaceMismatch("This needs an account-wide token.")


def need_user(caller: Caller) -> UUID:
    """The person behind the caller; Forbidden for keys, which are nobody in particular."""
    if caller.user_id is None:
        raise Forbidden("This credential belongs to no person.")
    return caller.user_id


# --- Workspaces -----------------------------------------------------------------------------------


def list_workspaces(caller: Caller) -> QuerySet[Workspace]:
    """The caller's workspaces with `caller_role`, newest first; only its own for a bound token."""
    refuse_session_token(caller)
    rows = Workspace.objects.exclude(status=WorkspaceStatus.REMOVED)
    if caller.workspace_id is not None:
        rows = rows.filter(pk=caller.workspace_id)
    if caller.user_id is None:
        rows = (
            rows.annotate(caller_role=Value(None, CharField()))
            if caller.workspace_id
            else rows.none()
        )
    else:
        seat = Member.objects.in_workspace(OuterRef("pk")).filter(user_id=caller.user_id)  # type: ignore[arg-type]
        rows = rows.annotate(caller_role=Subquery(seat.values("role")[:1]))
        rows = rows.filter(caller_role__isnull=False)
    return rows.order_by("-created_at", "-id")


def get_workspace(actor: Actor) -> Workspace:
    """The actor's workspace."""
    actor.need(Scope.READ)
    workspace = Workspace.objects.filter(pk=actor.workspace_id).first()
    if workspace is None or workspace.status == WorkspaceStatus.REMOVED:
        raise NotFound
    return workspace


def find_workspace_id(caller: Caller, slug: str) -> UUID:
    """The id behind a slug, among the caller's own workspaces; NotFound otherwise."""
    found = list_workspaces(caller).filter(slug=slug.replace("\x00", "")).values_list("id").first()
    if found is None:
        raise NotFound
    workspace_id: UUID = found[0]
    return workspace_id


# --- Members --------------------------------------------------------------------------------------


def list_members(actor: Actor) -> QuerySet[Member]:
    """Who belongs to the workspace, oldest first, with their users."""
    actor.need(Scope.READ)
    refuse_session_token(actor)
    mine = Member.objects.in_workspace(actor.workspace_id)
    return mine.select_related("user").order_by("joined_at", "id")


def get_member(actor: Actor, user_id: UUID) -> Member:
    """One member, with their user; NotFound for anybody without a seat."""
    found = list_members(actor).filter(user_id=user_id).first()
    if found is None:
        raise NotFound
    return found


# --- Credentials ----------------------------------------------------------------------------------


def list_tokens(caller: Caller) -> QuerySet[ApiToken]:
    """The caller's own live personal tokens, newest first. Needs admin scope.

    A token bound to one workspace sees only the tokens of that workspace.
    """
    refuse_session_token(caller)
    if caller.scope < Scope.ADMIN:
        raise ScopeInsufficient(required=Scope.ADMIN.word)
    if caller.user_id is None:
        return ApiToken.objects.none()
    rows = ApiToken.objects.filter(kind=TokenKind.PERSONAL, user_id=caller.user_id, revoked_at=None)
    if caller.workspace_id is not None:
        rows = rows.filter(workspace_id=caller.workspace_id)
    return rows.order_by("-created_at", "-id")


def list_keys(actor: Actor, *kinds: TokenKind) -> QuerySet[ApiToken]:
    """The workspace's live keys of `kinds` (all but session tokens when none is named)."""
    actor.need(Scope.ADMIN)
    refuse_session_token(actor)
    rows = ApiToken.objects.filter(workspace_id=actor.workspace_id, revoked_at=None)
    rows = rows.filter(kind__in=kinds) if kinds else rows.exclude(kind=TokenKind.SESSION)
    return rows.order_by("-created_at", "-id")


def get_token(caller: Caller, token_id: UUID) -> ApiToken:
    """A token the caller may look at: the one in their hand, else their own live ones."""
    refuse_session_token(caller)
    mine = Q(pk=caller.token_id) | Q(user_id=caller.user_id, kind=TokenKind.PERSONAL)
    if caller.user_id is None:
        mine = Q(pk=caller.token_id)
    rows = ApiToken.objects.filter(mine, pk=token_id, revoked_at=None)
    if caller.workspace_id is not None:
        rows = rows.filter(workspace_id=caller.workspace_id)
    found = rows.first()
    if found is None:
        raise NotFound
    return found


def token_limits(token_id: UUID) -> TokenLimits:
    """A credential's limits: what an operator set for it, else the installation's defaults."""
    found = ApiToken.objects.filter(pk=token_id).values_list(
        "read_per_min", "write_per_min", "max_sessions"
    )
    read, write, sessions = found.first() or (None, None, None)
    return TokenLimits(
        settings.RATE_READ_PER_MIN if read is None else read,
        settings.RATE_WRITE_PER_MIN if write is None else write,
        settings.MAX_ACTIVE_SESSIONS if sessions is None else sessions,
    )


# --- Secrets --------------------------------------------------------------------------------------


def list_secrets(actor: Actor) -> QuerySet[Secret]:
    """By name, still sealed. Admins."""
    refuse_session_token(actor)
    actor.need(Scope.ADMIN)
    rows: QuerySet[Secret] = Secret.objects.in_workspace(actor.workspace_id)
    return rows.order_by("name", "id")


def get_secret(actor: Actor, name: str) -> Secret:
    """One, whatever the case of its name; SecretNotFound when absent or foreign."""
    found = list_secrets(actor).filter(name__iexact=name).first()
    if found is None:
        raise SecretNotFound
    return found


def may_run_programs(actor: Actor) -> bool:
    """True if `actor` may have programs run on this machine: operators, and the signing keys that only
    operators make. One query for a key.
    """
    if actor.platform or actor.kind in {CallerKind.OPERATOR, CallerKind.SYSTEM}:
        return True
    if actor.kind != CallerKind.KEY or actor.token_id is None:
        return False
    keys = ApiToken.objects.filter(pk=actor.token_id, kind=TokenKind.HMAC, revoked_at=None)
    return bool(keys.exists())
