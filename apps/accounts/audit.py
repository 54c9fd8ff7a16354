"""The record of changes: who did what to which row, before and after, without secrets.

TLDR: call `record_change` inside the transaction of the change. If the entry cannot be written the
change does not happen; if the change rolls back the entry goes with it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.accounts.models import AuditEntry
from apps.core.clock import now, rfc3339
from apps.core.ids import uuid7
from apps.core.rows import insert

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor, Caller

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"token|secret|password|key|sealed", re.IGNORECASE)
_LONGEST_TEXT = 2000
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
    """Write one entry in the caller's transaction.

    `before` and `after` are JSON-ready mappings (UUIDs and datetimes too); values whose key looks
    like a secret's are replaced. `workspace_id` is needed only where `who` stands above workspaces.
    """
    entry = AuditEntry(
        id=uuid7(),
        workspace_id=workspace_id or who.workspace_id,
        actor_kind=who.kind.value,
        user_id=who.user_id,
        token_id=who.token_id,
        action=action,
        subject_type=subject_type,
        subject_id=str(subject_id or "")[:100],
        before=redact(before),
        after=redact(after),
        reason=_storable(reason)[:500],
        request_id=who.request_id[:64],
        ip=_address(who.ip),
        created_at=now(),
    )
    insert(entry)
    return entry


def redact(value: Any, *, depth: int = 0) -> Any:
    """`value` JSON-ready and bounded, with every secret-looking key's value replaced."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _is_secret(str(key), item) else redact(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, depth=depth + 1) for item in value[:200]]
    if isinstance(value, str):
        return _storable(value)[:_LONGEST_TEXT]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return REDACTED
    if isinstance(value, datetime):
        return rfc3339(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _is_secret(key: str, value: Any) -> bool:
    """A number (`token_budget`), a flag or None under such a name tells nothing; the rest might."""
    harmless = value is None or isinstance(value, (bool, int, float))
    return not harmless and bool(_SECRET_KEY.search(key))


def _storable(text: str) -> str:
    return text.replace("\x00", "")


def _address(text: str) -> str | None:
    """PostgreSQL refuses what is no address, and a bad header must not stop a change."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
