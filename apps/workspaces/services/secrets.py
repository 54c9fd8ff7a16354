"""Verbs on secrets that look before they change: is it new, does something need it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from apps.core.crypto import same
from apps.workspaces.errors import SecretExists, SecretInUse, SecretNotFound
from apps.workspaces.keeping import is_needed, lock_secrets
from apps.workspaces.models import Secret
from apps.workspaces.selectors import need_admin
from apps.workspaces.services.vault import put_secret, remove_secret
from apps.workspaces.vault import opened_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.core.actor import Actor


@dataclass(frozen=True, slots=True)
class Merged:
    """Names: new ones, those with another value now, and those of the vault that were not given."""

    added: tuple[str, ...]
    overwritten: tuple[str, ...]
    preserved: tuple[str, ...]


@transaction.atomic
def create_secret(actor: Actor, name: str, value: str) -> Secret:
    """As `put_secret`, but raises SecretExists where there is one of this name."""
    _hold(actor)
    if _known(actor, name) is not None:
        raise SecretExists
    return put_secret(actor, name, value)


@transaction.atomic
def set_secret(actor: Actor, name: str, value: str) -> tuple[Secret, bool]:
    """As `put_secret`: (the secret, whether it is new)."""
    _hold(actor)
    new = _known(actor, name) is None
    return put_secret(actor, name, value), new


@transaction.atomic
def delete_secret(actor: Actor, name: str) -> None:
    """Raises SecretNotFound; SecretInUse while something refers to it (see `keeping`)."""
    _hold(actor)
    rows = Secret.objects.in_workspace(actor.workspace_id).filter(name__iexact=name)
    # Held before the question: another version of a formation that names it holds it, too.
    secret = rows.select_for_update().first()
    if secret is None:
        raise SecretNotFound
    if is_needed(actor, secret.name):
        raise SecretInUse
    remove_secret(actor, secret.name)


@transaction.atomic
def merge_secrets(actor: Actor, values: Mapping[str, str]) -> Merged:
    """Keep all of `values`; what they do not name stays. Raises as `put_secret`, all or nothing."""
    _hold(actor)
    before = opened_secrets(actor.workspace_id)
    names = {row.lower(): row for row in _names(actor)}
    added = [name for name in values if name.lower() not in names]
    known = {names[name.lower()]: value for name, value in values.items() if name not in added}
    changed = [n for n, value in known.items() if n not in before or not same(before[n], value)]
    for name in (*added, *changed):
        put_secret(actor, name, known.get(name, values.get(name, "")))
    preserved = set(names.values()) - set(known)
    return Merged(tuple(sorted(added)), tuple(sorted(changed)), tuple(sorted(preserved)))


def _hold(actor: Actor) -> None:
    need_admin(actor)
    lock_secrets(actor)


def _names(actor: Actor) -> list[str]:
    return list(Secret.objects.in_workspace(actor.workspace_id).values_list("name", flat=True))


def _known(actor: Actor, name: str) -> str | None:
    """The name as it is spelled in the vault, or None."""
    return next((known for known in _names(actor) if known.lower() == name.lower()), None)
