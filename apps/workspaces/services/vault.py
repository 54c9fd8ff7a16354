"""The vault of a workspace: keep and forget secrets. A value is shown to nobody again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.db import transaction

from apps.accounts.services import record_change
from apps.core.announce import announce
from apps.core.checks import wrong
from apps.core.crypto import seal
from apps.core.errors import Conflict, NotFound
from apps.core.ids import uuid7
from apps.workspaces.events import SecretRemoved, SecretSet
from apps.workspaces.models import Secret
from apps.workspaces.selectors import need_admin
from apps.workspaces.vault import MOST_SECRETS, secret_context

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.core.actor import Actor

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
LONGEST_VALUE = 64 * 1024  # bytes


@transaction.atomic
def put_secret(actor: Actor, name: str, value: str) -> Secret:
    """Keep `value` under `name`, in place of what was there. Admins. Publishes SecretSet.

    Raises InvalidInput, Conflict (the vault is full).
    """
    need_admin(actor)
    if not NAME.fullmatch(name):
        raise wrong("name", "Use up to 200 letters, digits, dots, hyphens and underscores.")
    if "\x00" in value or len(value.encode()) > LONGEST_VALUE:
        raise wrong("value", f"Must be text of at most {LONGEST_VALUE} bytes.")
    row = _rows(actor).select_for_update().filter(name__iexact=name).first()
    known = row is not None
    if row is None:
        if _rows(actor).count() >= MOST_SECRETS:
            raise Conflict(f"A workspace keeps at most {MOST_SECRETS} secrets.")
        row = Secret(id=uuid7(), workspace_id=actor.workspace_id, created_by_id=actor.user_id)
    row.name = name
    row.sealed = seal(value.encode(), context=secret_context(actor.workspace_id, row.pk))
    row.save(force_insert=not known)
    action = "secret.replaced" if known else "secret.added"
    record_change(actor, action, "secret", row.pk, after={"name": name})
    announce(actor, SecretSet(secret_id=row.pk, secret_name=name))
    return row


@transaction.atomic
def remove_secret(actor: Actor, name: str) -> None:
    """Forget it. Admins. Publishes SecretRemoved. Raises NotFound."""
    need_admin(actor)
    row = _rows(actor).select_for_update().filter(name__iexact=name.replace("\x00", "")).first()
    if row is None:
        raise NotFound
    secret_id, name = row.pk, row.name
    row.delete()
    record_change(actor, "secret.removed", "secret", secret_id, before={"name": name})
    announce(actor, SecretRemoved(secret_id=secret_id, secret_name=name))


def _rows(actor: Actor) -> QuerySet[Secret]:
    rows: QuerySet[Secret] = Secret.objects.in_workspace(actor.workspace_id)
    return rows
