"""A formation's keys and secrets, changed while it runs, without another version of its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import transaction

from apps.formations import reading
from apps.formations.claiming import inside_of, lock_formation, need_deployer, tell
from apps.formations.errors import FormationNotFound
from apps.formations.events import FormationKeysRotated
from apps.formations.models import Formation
from apps.formations.services.applying import KEY_KINDS, KEY_NAMES
from apps.formations.services.versions import secrets_of
from apps.workspaces.selectors import get_workspace, list_keys
from apps.workspaces.services import issue_key, merge_secrets, revoke_key

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.workspaces.services import Merged


@transaction.atomic
def rotate_keys(actor: Actor, slug: str, *, reason: str = "") -> dict[str, str]:
    """New admin and client keys in place of the formation's, which open nothing from now on: name ->
    key, in the clear, kept nowhere. Other keys of its home stay. Raises FormationNotFound.

    Where the file names its keys, the next version brings those back.
    """
    need_deployer(actor)
    formation = lock_formation(actor, slug)
    inside = inside_of(actor, formation)
    made = {}
    for name, kind in KEY_KINDS.items():
        for key in list_keys(inside, kind).filter(name=KEY_NAMES[name]):
            revoke_key(inside, key.pk, reason)
        _, made[name] = issue_key(inside, kind=kind, name=KEY_NAMES[name])
    fact = FormationKeysRotated(formation_id=formation.pk, formation=formation.slug)
    tell(actor, formation, fact, reason=reason)
    return made


def reload_secrets(actor: Actor) -> Merged:
    """The secrets that came with the serving version, over those of the vault (contract/muxi.md §5.9).

    `actor` stands in the formation's home. Raises FormationNotFound, ArchiveRefused (they do not open).
    """
    formation = _formation_at(actor)
    version = formation.current
    if version is None:
        raise FormationNotFound
    owner = replace(actor, workspace_id=formation.workspace_id)
    return merge_secrets(actor, reading.vault_of(version.document, secrets_of(owner, version)))


def _formation_at(actor: Actor) -> Formation:
    """The formation whose home this is: it belongs to the workspace above."""
    parent_id = get_workspace(actor).parent_id
    if parent_id is None:
        raise FormationNotFound
    rows = Formation.objects.in_workspace(parent_id).select_related("current")
    found: Formation | None = rows.filter(home_id=actor.workspace_id).first()
    if found is None:
        raise FormationNotFound
    return found
