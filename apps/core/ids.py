"""Identifiers: UUIDv7 inside, opaque prefixed base62 outside (contract/polymux.md §1.7).

One UUID has two spellings on the wire: `ws_<base62>` where the surface's ids are opaque strings
(polymux, openai) and the plain hyphenated UUID where they are UUIDs (molecule, polyant). `parse_id`
accepts both. A session's id also carries its workspace: `ses_<workspace>_<session>`.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from functools import lru_cache
from uuid import UUID

from apps.core.errors import NotFound

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {char: value for value, char in enumerate(ALPHABET)}
_LONGEST = 22  # 62**22 > 2**128

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562 §5.7), strictly increasing within this process.

    The 12 bits after the timestamp are a counter, so that rows made in the same millisecond keep
    their order: keyset paging by id depends on it.
    """
    global _last_ms, _counter  # noqa: PLW0603
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, secrets.randbits(11)
        else:
            _counter += 1
            if _counter > 0xFFF:  # 4096 ids in one millisecond: borrow the next one
                _last_ms, _counter = _last_ms + 1, 0
        stamp, count = _last_ms, _counter
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return UUID(int=(stamp << 80) | (0x7 << 76) | (count << 64) | (0b10 << 62) | tail)


_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def base62(value: UUID) -> str:
    """`value` in base 62, without leading zeros."""
    return _digits(value.int)


@lru_cache(maxsize=16_384)
def _digits(number: int) -> str:
    """Two digits a step: lists spell a hundred of these. By the integer: a UUID is slow as a key."""
    pairs = []
    while number:
        number, rest = divmod(number, 3844)
        pairs.append(_PAIRS[rest])
    return "".join(reversed(pairs)).lstrip("0") or "0"


def from_base62(text: str) -> UUID:
    """The UUID behind `text`; `ValueError` when it is not one."""
    if not 0 < len(text) <= _LONGEST:
        raise ValueError(text)
    number = 0
    for char in text:
        if char not in _VALUE:
            raise ValueError(text)
        number = number * 62 + _VALUE[char]
    return UUID(int=number)


def wire_id(prefix: str, value: UUID) -> str:
    """`ws_7Qm2…`: how this row is called outside."""
    return f"{prefix}_{base62(value)}"


def parse_bare(text: str) -> UUID:
    """The UUID behind a bare `<base62>` (polpo's 21 or 22 letters) or a plain UUID; else NotFound."""
    try:
        return UUID(text) if len(text) == 36 else from_base62(text)
    except ValueError:
        raise NotFound from None


def session_wire_id(workspace_id: UUID, session_id: UUID) -> str:
    return f"ses_{base62(workspace_id)}_{base62(session_id)}"


def parse_id(prefix: str, text: str) -> UUID:
    """The UUID behind `prefix_<base62>` or a plain UUID; NotFound for anything else.

    NotFound, not invalid: a malformed id and one that names nothing tell the same.
    """
    try:
        if text.startswith(f"{prefix}_"):
            return from_base62(text[len(prefix) + 1 :])
        if len(text) == 36:
            return UUID(text)
    except ValueError:
        pass
    raise NotFound


def parse_session_id(text: str) -> tuple[UUID | None, UUID]:
    """(workspace, session) of a session's id; the workspace is None for a plain UUID."""
    parts = text.split("_")
    try:
        if len(parts) == 3 and parts[0] == "ses":
            return from_base62(parts[1]), from_base62(parts[2])
        if len(text) == 36:
            return None, UUID(text)
    except ValueError:
        pass
    raise NotFound


def parse_session_ref(text: str) -> tuple[UUID | None, UUID]:
    """As `parse_session_id`, and a bare `<base62>` too: a session as polpo's clients name it."""
    return parse_session_id(text) if text.startswith("ses_") else (None, parse_bare(text))


def request_id() -> str:
    return f"req_{base62(uuid7())}"
