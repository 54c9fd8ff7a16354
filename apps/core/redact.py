"""Keeping secrets out of what is stored, logged and shown."""

from __future__ import annotations

import re
from typing import Any

_SECRET_KEY = re.compile(
    r"(^|[_\-.])(token|secret|password|passwd|api[_-]?key|authorization|cookie|credential|sealed|private[_-]?key)s?($|[_\-.])",
    re.IGNORECASE,
)
HIDDEN = "[redacted]"


def redacted(value: Any, *, depth: int = 12) -> Any:
    """`value` with what stands under a secret's name hidden; JSON in, JSON out."""
    if depth == 0:
        return HIDDEN
    if isinstance(value, dict):
        return {
            key: HIDDEN
            if _SECRET_KEY.search(str(key)) and item
            else redacted(item, depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redacted(item, depth=depth - 1) for item in value]
    return value
