"""Reading people and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from apps.accounts.errors import OperatorsOnly
from apps.accounts.models import AuditEntry, PlatformRole, User
from apps.core.actor import Caller, CallerKind, Scope
from apps.core.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Actor

AUDIT_CLEARED = "audit.cleared"
_PLATFORM_ROLES = {PlatformRole.SUPERADMIN.value, PlatformRole.ADMIN.value}


def find_user_by_email(email: str) -> User | None:
    """The user with this e-mail in any case, or None. For logins: it asks for no caller."""
    folded = email.strip().lower()
    if "\x00" in folded or len(folded) > 254:
        return None
    return User.objects.filter(email=folded).first()


def get_user(caller: Caller, user_id: UUID) -> User:
    """A user, for themselves and for operators; NotFound for anybody else."""
    if user_id != caller.user_id and not caller.platform:
        raise NotFound
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound
    return user


def list_users(caller: Caller) -> QuerySet[User]:
    """Everybody, newest first; operators only."""
    need_platform(caller)
    return User.objects.order_by("-created_at", "-id")


def login_caller(user: User, *, request_id: str = "", ip: str = "") -> Caller:
    """The caller behind a password login: everywhere, as far as their roles go."""
    if not user.is_active:
        raise Forbidden("This account is closed.")
    return Caller(
        kind=CallerKind.LOGIN, scope=Scope.ADMIN, user_id=user.pk, request_id=request_id, ip=ip
    )


def operator_caller(user: User, *, request_id: str = "", ip: str = "") -> Caller:
    """The caller behind the operator console; raises `OperatorsOnly` for everybody else."""
    if not (user.is_active and user.is_staff and user.role in _PLATFORM_ROLES):
        raise OperatorsOnly
    return Caller(
        kind=CallerKind.OPERATOR,
        scope=Scope.ADMIN,
        user_id=user.pk,
        platform=True,
        request_id=request_id,
        ip=ip,
    )


def system_caller() -> Caller:
    """The platform itself, for first runs and commands; named `system` in the audit."""
    return Caller(kind=CallerKind.SYSTEM, scope=Scope.ADMIN, platform=True)


def need_platform(caller: Caller | Actor) -> None:
    """Raise `OperatorsOnly` unless the caller stands above workspaces."""
    if not caller.platform:
        raise OperatorsOnly


def list_audit(actor: Actor) -> QuerySet[AuditEntry]:
    """One workspace's changes, newest first; admins only."""
    actor.need(Scope.ADMIN)
    return AuditEntry.objects.filter(workspace_id=actor.workspace_id).order_by("-created_at", "-id")


def list_audit_view(actor: Actor) -> QuerySet[AuditEntry]:
    """As `list_audit`, from the last clearing of this view on (see `services.clear_audit_view`)."""
    rows = list_audit(actor)
    cleared = AuditEntry.objects.filter(
        subject_type="audit", subject_id=str(actor.workspace_id), action=AUDIT_CLEARED
    )
    last = cleared.order_by("-created_at", "-id").values_list("created_at", "id").first()
    if last is None:
        return rows
    since, mark = last
    return rows.filter(Q(created_at__gt=since) | Q(created_at=since, id__gte=mark))


def list_platform_audit(caller: Caller) -> QuerySet[AuditEntry]:
    """Every change on this platform, newest first; operators only."""
    need_platform(caller)
    return AuditEntry.objects.order_by("-created_at", "-id")
