"""Who belongs to a workspace. At least one owner always stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.accounts.services import record_change
from apps.core.actor import Actor, CallerKind, Role, Scope
from apps.core.announce import announce, cut_off
from apps.core.errors import Forbidden, InvalidInput, NotFound
from apps.workspaces.errors import AlreadyMember, LastOwner
from apps.workspaces.events import MemberAdded, MemberChanged, MemberRemoved
from apps.workspaces.models import Member
from apps.workspaces.selectors import refuse_session_token
from apps.workspaces.services.workspaces import lock_workspace

if TYPE_CHECKING:
    from uuid import UUID


@transaction.atomic
def add_member(actor: Actor, user_id: UUID, role: Role = Role.MEMBER) -> Member:
    """Give a user a seat. Admins; only owners make owners. Publishes MemberAdded.

    Raises InvalidInput for an unknown user or role, AlreadyMember.
    """
    _need_manager(actor)
    role = _checked_role(role)
    _need_owner_for(actor, role)
    if not User.objects.filter(pk=user_id, is_active=True).exists():
        raise InvalidInput(fields={"user_id": ["There is no such user."]})
    member = Member(
        workspace_id=actor.workspace_id,
        user_id=user_id,
        role=role.value,
        invited_by_id=actor.user_id,
    )
    try:
        with transaction.atomic():
            member.save(force_insert=True)
    except IntegrityError:
        raise AlreadyMember from None
    record_change(actor, "member.added", "user", user_id, after={"role": role.value})
    announce(actor, MemberAdded(user_id=user_id, role=role.value))
    return member


@transaction.atomic
def change_member(actor: Actor, user_id: UUID, role: Role) -> Member:
    """Change a seat's role. Admins; only owners make or unmake owners. Publishes MemberChanged.

    Raises LastOwner rather than leave a workspace without one, NotFound.
    """
    _need_manager(actor)
    role = _checked_role(role)
    member = _lock_member(actor, user_id)
    if member.role == role.value:
        return member
    _need_owner_for(actor, role, Role(member.role))
    if member.role == Role.OWNER and not _other_owner(actor, user_id):
        raise LastOwner
    before, member.role = member.role, role.value
    member.save(update_fields=["role"])
    record_change(
        actor,
        "member.changed",
        "user",
        user_id,
        before={"role": before},
        after={"role": role.value},
    )
    announce(actor, MemberChanged(user_id=user_id, old_role=before, role=role.value))
    return member


@transaction.atomic
def remove_member(actor: Actor, user_id: UUID) -> None:
    """Take a seat away: access ends at once. Admins; everybody may leave. Publishes MemberRemoved.

    Only owners remove owners. Raises LastOwner, NotFound.
    """
    refuse_session_token(actor)
    if user_id != actor.user_id:
        _need_manager(actor)
    else:
        actor.need(Scope.WRITE if actor.role != Role.VIEWER else Scope.READ)
    member = _lock_member(actor, user_id)
    if user_id != actor.user_id:
        _need_owner_for(actor, Role(member.role))
    if member.role == Role.OWNER and not _other_owner(actor, user_id):
        raise LastOwner
    member.delete()
    record_change(actor, "member.removed", "user", user_id, before={"role": member.role})
    cut_off(user_id=user_id, workspace_id=actor.workspace_id)
    announce(actor, MemberRemoved(user_id=user_id, role=member.role))


def _need_manager(actor: Actor) -> None:
    refuse_session_token(actor)
    actor.need(Scope.ADMIN)
    actor.need_role(Role.ADMIN, Role.OWNER)


def _need_owner_for(actor: Actor, *roles: Role) -> None:
    trusted = actor.role == Role.OWNER or actor.kind in {CallerKind.OPERATOR, CallerKind.SYSTEM}
    if Role.OWNER in roles and not trusted:
        raise Forbidden("Only an owner may make or unmake owners.")


def _checked_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InvalidInput(fields={"role": ["Use one of viewer, member, admin, owner."]}) from None


def _lock_member(actor: Actor, user_id: UUID) -> Member:
    """The seat, with the workspace's row held: two demotions at once must see one another."""
    lock_workspace(actor)
    seats = Member.objects.in_workspace(actor.workspace_id)
    found: Member | None = seats.filter(user_id=user_id).first()
    if found is None:
        raise NotFound
    return found


def _other_owner(actor: Actor, user_id: UUID) -> bool:
    owners = Member.objects.in_workspace(actor.workspace_id).filter(role=Role.OWNER.value)
    return bool(owners.exclude(user_id=user_id).filter(user__is_active=True).exists())
