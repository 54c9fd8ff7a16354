"""Reading the vault: a workspace's secrets in the clear, for whoever uses them. Writing: `services.vault`.

Names are taken once, whatever their case. A value is sealed with AES-256-GCM and bound to its row.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from apps.core.crypto import SealBroken, context_of, open_sealed
from apps.workspaces.models import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

log = logging.getLogger(__name__)

MOST_SECRETS = 500  # a workspace


def secret_context(workspace_id: UUID, secret_id: UUID) -> str:
    """What a secret's value is bound to."""
    return context_of(workspace_id, "workspaces_secret", secret_id, "sealed")


def opened_secrets(workspace_id: UUID, names: Iterable[str] | None = None) -> dict[str, str]:
    """Name -> value of the workspace's secrets; of `names` only, when given. One query.

    Never shown, never logged. A value sealed with a key that is gone is left out, and said so.
    """
    rows = Secret.objects.in_workspace(workspace_id)
    if names is not None:
        rows = rows.filter(name__in=sorted(names))
    found = {}
    for row in rows.order_by("name")[:MOST_SECRETS]:
        try:
            raw = open_sealed(row.sealed, context=secret_context(workspace_id, row.pk))
        except SealBroken:
            log.warning("secret %s of workspace %s does not open", row.name, workspace_id)
            continue
        found[row.name] = raw.decode()
    return found
