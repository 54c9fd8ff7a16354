"""The record of changes: who did what to which row, before and after, without secrets.

TLDR: call `record_change` inside the transaction of the change. If the entry cannot be written the
change does not happen; if the change rolls back the entry goes with it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from apps.accounts.models import AuditEntry
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.redact import redacted
from apps.core.rows import insert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Actor, Caller

_LONGEST_TEXT = 2000
_MOST_ITEMS = 200
_DEEPEST = 8


def record_change(
    who: Actor | Caller,
    action: str,
    subject_type: str,
    subject_id: object,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    workspace_id: UUID | None = None,
) -> AuditEntry:
    """Write one entry in the caller's transaction; `change_entry` says what is in it."""
    entry = change_entry(
        who,
        action,
        subject_type,
        subject_id,
        before=before,
        after=after,
        reason=reason,
        workspace_id=workspace_id,
    )
    insert(entry)
    return entry


def change_entry(
    who: Actor | Caller,
    action: str,
    subject_type: str,
    subject_id: object,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    workspace_id: UUID | None = None,
) -> AuditEntry:
    """An entry that is not written yet, for a service that inserts it with its own rows.

    `before` and `after` are JSON-ready mappings (UUIDs and datetimes too); values whose key looks
    like a secret's are replaced. `workspace_id` is needed only where `who` stands above workspaces.
    """
    return AuditEntry(
        id=uuid7(),
        workspace_id=workspace_id or who.workspace_id,
        actor_kind=who.kind.value,
        user_id=who.user_id,
        token_id=who.token_id,
        action=action,
        subject_type=subject_type,
        subject_id=str(subject_id or "")[:100],
        before=_shown(before),
        after=_shown(after),
        reason=_storable(reason)[:500],
        request_id=who.request_id[:64],
        ip=_address(who.ip),
        created_at=now(),
    )


def _shown(value: Mapping[str, Any] | None) -> Any:
    return redacted(value, longest=_LONGEST_TEXT, most=_MOST_ITEMS, depth=_DEEPEST)


def _storable(text: str) -> str:
    return text.replace("\x00", "")


def _address(text: str) -> str | None:
    """PostgreSQL refuses what is no address, and a bad header must not stop a change."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
