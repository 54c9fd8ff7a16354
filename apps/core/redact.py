"""Keeping secrets out of what is stored, logged and shown: the one rule, for the audit log too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = "[redacted]"
_DEEPEST = 12

# Names in snake case, as `_snake` makes them. A token is named last (`auth_token`); what only counts
# tokens is not (`token_budget`, `tokens_used`, `message_token_count`).
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:secrets?|passwords?|passwd|passphrase|authorization|cookies?|credentials?|sealed"
    r"|(?:api|private|secret|access|auth|signing|encryption)_?keys?)(?:_|$)"
    r"|tokens?$|(?:^|_)token_(?:hash|secret|value)$"
)
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def redacted(
    value: Any,
    *,
    longest: int | None = None,
    most: int | None = None,
    depth: int = _DEEPEST,
    secret: Callable[[str, Any], bool] | None = None,
) -> Any:
    """`value` as JSON, with what stands under a secret's name hidden, and bytes.

    Cut to `longest` characters a text, `most` items a list and `depth` levels. `secret(name, value)`
    in place of `is_secret`, for readers who are promised more.
    """
    if depth == 0:
        return HIDDEN
    hides = secret or is_secret
    inner = partial(redacted, longest=longest, most=most, depth=depth - 1, secret=secret)
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN if hides(str(key), item) else inner(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value[:most]]
    return _plain(value, longest)


def is_secret(name: str, value: Any) -> bool:
    """Does `value` tell a secret, standing under `name`? Nothing, a flag and a count do not."""
    if value is None or isinstance(value, bool) or value in ("", 0):
        return False
    snake = _WORD_STARTS.sub("_", name).lower()
    if isinstance(value, (int, float)) and snake.endswith("tokens"):
        return False
    return _SECRET_NAME.search(snake) is not None


def _plain(value: Any, longest: int | None) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")[:longest]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return HIDDEN
    if isinstance(value, datetime):
        return rfc3339(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
