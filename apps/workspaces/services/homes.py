"""Homes: workspaces that something else owns. A formation lives in one, below who deployed it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from apps.accounts.services import record_change
from apps.core.actor import Actor, Scope
from apps.core.announce import announce, cut_off
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.ids import base62, uuid7
from apps.workspaces import events, preferences
from apps.workspaces.models import ApiToken, Member, Workspace, WorkspaceStatus
from apps.workspaces.selectors import refuse_session_token
from apps.workspaces.services.workspaces import LONGEST_NAME

if TYPE_CHECKING:
    from uuid import UUID


@transaction.atomic
def create_home(actor: Actor, *, name: str, slug: str) -> Workspace:
    """A workspace below the actor's, where its members have the seats they have there.

    Nobody in particular owns it and it counts for nobody. `slug` gets an ending where it is taken.
    Admins. Publishes WorkspaceCreated.
    """
    refuse_session_token(actor)
    actor.need(Scope.ADMIN)
    home = Workspace(
        name=name[:LONGEST_NAME],
        slug=slug,
        parent_id=actor.workspace_id,
        settings=preferences.defaults(),
        created_by_id=actor.user_id,
    )
    _save_under_a_free_slug(home)
    seats = Member.objects.in_workspace(actor.workspace_id).values_list("user_id", "role")
    Member.objects.in_workspace(home.pk).bulk_create(
        [Member(workspace=home, user_id=user_id, role=role) for user_id, role in seats]
    )
    inside = replace(actor, workspace_id=home.pk)
    after = {"name": home.name, "slug": home.slug, "parent_id": actor.workspace_id}
    record_change(inside, "workspace.created", "workspace", home.pk, after=after)
    fact = events.WorkspaceCreated(workspace_id=home.pk, slug=home.slug, title=home.name)
    announce(inside, fact)
    return home


@transaction.atomic
def remove_home(actor: Actor, home_id: UUID) -> None:
    """Remove a home of the actor's workspace: from now on it is absent, its credentials die. Admins.

    The rows stay until retention takes them. Raises NotFound. Publishes WorkspaceRemoved.
    """
    refuse_session_token(actor)
    actor.need(Scope.ADMIN)
    rows = Workspace.objects.select_for_update(no_key=True).filter(parent_id=actor.workspace_id)
    home = rows.exclude(status=WorkspaceStatus.REMOVED).filter(pk=home_id).first()
    if home is None:
        raise NotFound
    before = {"slug": home.slug, "status": home.status}
    home.status = WorkspaceStatus.REMOVED
    home.slug = f"removed-{base62(uuid7()).lower()}-{base62(home.pk).lower()}"[:100]
    home.save(update_fields=["status", "slug", "updated_at"])
    ApiToken.objects.filter(workspace_id=home.pk, revoked_at=None).update(revoked_at=now())
    inside = replace(actor, workspace_id=home.pk)
    record_change(inside, "workspace.removed", "workspace", home.pk, before=before)
    cut_off(workspace_id=home.pk)
    announce(inside, events.WorkspaceRemoved(workspace_id=home.pk))


def _save_under_a_free_slug(home: Workspace) -> None:
    """Slugs are taken once on an installation; whoever has this one keeps it."""
    try:
        with transaction.atomic():
            home.save(force_insert=True)
    except IntegrityError:
        home.slug = f"{home.slug}-{base62(home.pk).lower()}"
        home.save(force_insert=True)
