"""What a formation may be called (contract/muxi.md §3.2)."""

from __future__ import annotations

import re

from apps.formations.bundles.errors import BundleError

_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,48}[a-z0-9]")
# Upstream's own, and every first path segment under `/api` that means something else here.
RESERVED = frozenset(
    {
        *("health", "ping", "rpc", "server", "admin", "metrics", "api"),
        *("v1", "instances", "users", "auth", "me", "skills", "tools", "analytics"),
        *("conversations", "audit-logs", "activity-stream", "attachments"),
    }
)


def checked_id(value: object, *, file: str = "", line: int = 0) -> str:
    """`value` if a formation may be called so. BundleError ("InvalidFormationID") otherwise."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        words = (
            "A formation's id must be 3 to 50 small letters, digits and hyphens, "
            "and begin and end with a letter or digit."
        )
        raise BundleError("InvalidFormationID", words, file=file, line=line)
    if value in RESERVED:
        words = f"No formation may be called `{value}`: that name is reserved."
        raise BundleError("InvalidFormationID", words, file=file, line=line)
    return value
