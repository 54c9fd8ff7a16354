"""Make, change, suspend and remove workspaces."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.accounts.selectors import need_platform
from apps.accounts.services import record_change
from apps.core.actor import Actor, Caller, Role, Scope
from apps.core.announce import announce, cut_off
from apps.core.checks import checked_text, checked_url
from apps.core.clock import now
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient
from apps.core.ids import base62, uuid7
from apps.workspaces import events, preferences
from apps.workspaces.errors import (
    HasChildren,
    LastWorkspace,
    SlugTaken,
    WorkspaceLimitReached,
)
from apps.workspaces.models import ApiToken, Member, Workspace, WorkspaceStatus
from apps.workspaces.selectors import actor_in, need_admin, need_everywhere

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

LONGEST_NAME = 100
MAX_OWNED = 100
MAX_DEPTH = 8
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?")
SLUG_RULE = (
    "Use 1 to 100 lower-case letters, digits, hyphens and underscores, beginning and ending with a"
    " letter or digit."
)
# First path segments below /api: a workspace's slug names its instance and its formations there.
RESERVED_SLUGS = (
    "v1",
    "instances",
    "users",
    "auth",
    "me",
    "skills",
    "tools",
    "analytics",
    "conversations",
    "audit-logs",
    "activity-stream",
    "attachments",
)


@transaction.atomic
def create_workspace(
    caller: Caller, *, name: str, slug: str, parent_id: UUID | None = None
) -> Workspace:
    """A new workspace, owned by the caller. Publishes WorkspaceCreated.

    Needs an account-wide write credential of a person; below a parent also admin rights there.
    Raises InvalidInput (`details.fields`), SlugTaken, WorkspaceLimitReached, NotFound (parent).
    """
    need_everywhere(caller)
    if caller.user_id is None or caller.scope < Scope.WRITE:
        raise ScopeInsufficient(required=Scope.WRITE.word)
    workspace = Workspace(
        name=checked_text("name", name, LONGEST_NAME),
        slug=_checked_slug(slug),
        parent_id=_checked_parent(caller, parent_id),
        settings=preferences.defaults(),
        created_by_id=caller.user_id,
    )
    _check_owned(caller.user_id)
    try:
        with transaction.atomic():
            workspace.save(force_insert=True)
    except IntegrityError:  # the unique slug decides between two who want it
        raise SlugTaken(fields={"slug": ["This slug is in use."]}) from None
    Member(workspace=workspace, user_id=caller.user_id, role=Role.OWNER.value).save()
    inside = replace(caller, workspace_id=workspace.pk)
    after = {"name": workspace.name, "slug": workspace.slug, "parent_id": parent_id}
    record_change(inside, "workspace.created", "workspace", workspace.pk, after=after)
    announce(
        inside,
        events.WorkspaceCreated(
            workspace_id=workspace.pk, slug=workspace.slug, title=workspace.name
        ),
    )
    return workspace


@transaction.atomic
def update_workspace(
    actor: Actor, *, name: str | None = None, avatar_url: str | None = None
) -> Workspace:
    """Rename or picture; an empty `avatar_url` clears it. Admins. Publishes WorkspaceChanged."""
    need_admin(actor)
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = checked_text("name", name, LONGEST_NAME)
    if avatar_url is not None:
        changes["avatar_url"] = checked_url("avatar_url", avatar_url)
    return _apply(actor, lock_workspace(actor), changes)


@transaction.atomic
def update_settings(actor: Actor, changes: Mapping[str, Any]) -> Workspace:
    """Set preferences by key; None returns one to its default. Admins. Publishes WorkspaceChanged."""
    need_admin(actor)
    workspace = lock_workspace(actor)
    return _apply(actor, workspace, {"settings": preferences.merged(workspace.settings, changes)})


@transaction.atomic
def delete_workspace(actor: Actor) -> None:
    """Remove the workspace: from now on it is absent, its credentials die. Owners.

    The rows stay until retention takes them. Raises LastWorkspace when a person would be left
    without any, HasChildren. Publishes WorkspaceRemoved.
    """
    need_admin(actor)
    actor.need_role(Role.OWNER)
    # The person first: two removals of their last two workspaces must see one another.
    if actor.user_id is not None:
        User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).first()
    workspace = lock_workspace(actor)
    if workspace.children.exclude(status=WorkspaceStatus.REMOVED).exists():
        raise HasChildren
    if actor.user_id is not None and not _other_homes(actor.user_id, workspace.pk):
        raise LastWorkspace
    before = {"slug": workspace.slug, "status": workspace.status}
    workspace.status = WorkspaceStatus.REMOVED
    workspace.slug = f"removed-{base62(uuid7()).lower()}-{base62(workspace.pk).lower()}"[:100]
    workspace.save(update_fields=["status", "slug", "updated_at"])
    ApiToken.objects.filter(workspace_id=workspace.pk, revoked_at=None).update(revoked_at=now())
    record_change(actor, "workspace.removed", "workspace", workspace.pk, before=before)
    cut_off(workspace_id=workspace.pk)
    announce(actor, events.WorkspaceRemoved(workspace_id=workspace.pk))


@transaction.atomic
def suspend_workspace(actor: Actor, *, reason: str) -> Workspace:
    """Let a workspace be read but not changed. Operators, with a reason. Repeating changes nothing."""
    return _set_status(actor, WorkspaceStatus.SUSPENDED, reason)


@transaction.atomic
def resume_workspace(actor: Actor, *, reason: str) -> Workspace:
    """Undo a suspension. Operators, with a reason. Repeating changes nothing."""
    return _set_status(actor, WorkspaceStatus.ACTIVE, reason)


def _checked_slug(slug: Any) -> str:
    """A free-standing slug: 1-100 of `a-z 0-9 _ -`, no reserved word; InvalidInput names it."""
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        raise InvalidInput(fields={"slug": [SLUG_RULE]})
    if slug in RESERVED_SLUGS:
        raise InvalidInput(fields={"slug": ["This word is reserved."]})
    return slug


def lock_workspace(actor: Actor) -> Workspace:
    """The row, held until the transaction ends; NotFound when it is gone.

    FOR NO KEY UPDATE: inserting a row that refers to the workspace need not wait.
    """
    found = (
        Workspace.objects.select_for_update(no_key=True)
        .filter(pk=actor.workspace_id)
        .exclude(status=WorkspaceStatus.REMOVED)
        .first()
    )
    if found is None:
        raise NotFound
    return found


def _checked_parent(caller: Caller, parent_id: UUID | None) -> UUID | None:
    if parent_id is None:
        return None
    actor_in(caller, parent_id).need(Scope.ADMIN)
    above, depth = parent_id, 1
    while (up := _parent_of(above)) is not None:
        above, depth = up, depth + 1
        if depth >= MAX_DEPTH:
            raise InvalidInput(fields={"parent_id": [f"Workspaces nest at most {MAX_DEPTH} deep."]})
    return parent_id


def _parent_of(workspace_id: UUID) -> UUID | None:
    return Workspace.objects.values_list("parent_id", flat=True).get(pk=workspace_id)


def _check_owned(user_id: UUID) -> None:
    owned = Workspace.objects.filter(created_by_id=user_id).exclude(status=WorkspaceStatus.REMOVED)
    if owned.count() >= MAX_OWNED:
        raise WorkspaceLimitReached


def _other_homes(user_id: UUID, workspace_id: UUID) -> bool:
    seats = User(pk=user_id).memberships.exclude(workspace_id=workspace_id)
    return bool(seats.exclude(workspace__status=WorkspaceStatus.REMOVED).exists())


def _apply(actor: Actor, workspace: Workspace, changes: dict[str, Any]) -> Workspace:
    changed = {name: new for name, new in changes.items() if getattr(workspace, name) != new}
    if not changed:
        return workspace
    before = {name: getattr(workspace, name) for name in changed}
    for name, new in changed.items():
        setattr(workspace, name, new)
    workspace.save(update_fields=[*changed, "updated_at"])
    record_change(
        actor, "workspace.changed", "workspace", workspace.pk, before=before, after=changed
    )
    announce(
        actor,
        events.WorkspaceChanged(workspace_id=workspace.pk, fields=tuple(sorted(changed))),
    )
    return workspace


def _set_status(actor: Actor, status: WorkspaceStatus, reason: str) -> Workspace:
    need_platform(actor)
    reason = checked_text("reason", reason, 500)
    workspace = lock_workspace(actor)
    if workspace.status == status:
        return workspace
    before = {"status": workspace.status}
    workspace.status = status
    workspace.save(update_fields=["status", "updated_at"])
    suspended = status == WorkspaceStatus.SUSPENDED
    fact = events.WorkspaceSuspended if suspended else events.WorkspaceResumed
    record_change(
        actor,
        fact.name,
        "workspace",
        workspace.pk,
        before=before,
        after={"status": status.value},
        reason=reason,
    )
    announce(actor, fact(workspace_id=workspace.pk, reason=reason))
    return workspace
