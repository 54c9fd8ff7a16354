"""The vault's envelope, tokens and comparisons.

A sealed value is `version (1) | length of key id (1) | key id | nonce (12) | ciphertext and tag`. The
context (`workspace|table|row|field`) is associated data: a value moved to another row does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
TOKEN_BYTES = 32  # 256 bits
FALLBACK_ID = "kept"
_INFO = b"polymux vault key"


class SealBroken(Exception):
    """A sealed value does not open: another context, an unknown key, or changed bytes."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id. `first` seals; all open."""

    first: str
    keys: dict[str, AESGCM]


def seal(plaintext: bytes, *, context: str) -> bytes:
    """`plaintext` encrypted under the ring's first key, bound to `context`."""
    ring = key_ring()
    nonce = os.urandom(NONCE_BYTES)
    name = ring.first.encode()
    head = bytes([VERSION, len(name)]) + name
    return head + nonce + ring.keys[ring.first].encrypt(nonce, plaintext, _bound(head, context))


def open_sealed(sealed: bytes | memoryview, *, context: str) -> bytes:
    """What `seal` was given; `SealBroken` for another context, an unknown key or changed bytes."""
    raw = bytes(sealed)
    head, name = _head(raw)
    cipher = key_ring().keys.get(name)
    if cipher is None:
        raise SealBroken("the key of this value is not in the ring")
    nonce, body = raw[len(head) : len(head) + NONCE_BYTES], raw[len(head) + NONCE_BYTES :]
    try:
        return cipher.decrypt(nonce, body, _bound(head, context))
    except InvalidTag:
        raise SealBroken("the value does not open in this context") from None


def reseal(sealed: bytes | memoryview, *, context: str) -> bytes:
    """The same value under the ring's first key; unchanged when it is under that key already."""
    raw = bytes(sealed)
    plaintext = open_sealed(raw, context=context)
    return raw if sealed_with(raw) == key_ring().first else seal(plaintext, context=context)


def sealed_with(sealed: bytes | memoryview) -> str:
    """The id of the key a value is sealed with; `SealBroken` when it is no sealed value."""
    return _head(bytes(sealed))[1]


def context_of(workspace: object, table: str, row: object, field: str) -> str:
    """The context string of one field of one row."""
    return f"{workspace}|{table}|{row}|{field}"


def _head(raw: bytes) -> tuple[bytes, str]:
    if len(raw) < 2 or raw[0] != VERSION or len(raw) < 2 + raw[1] + NONCE_BYTES + TAG_BYTES:
        raise SealBroken("not a sealed value")
    head = raw[: 2 + raw[1]]
    return head, head[2:].decode("ascii", "replace")


def _bound(head: bytes, context: str) -> bytes:
    return head + context.encode()


def key_ring() -> KeyRing:
    """The ring of `ENCRYPTION_KEYS`, else the one key derived from the installation's secret."""
    return _ring(settings.ENCRYPTION_KEYS, settings.ENCRYPTION_FALLBACK)


@lru_cache(maxsize=8)
def _ring(written: str, fallback: str) -> KeyRing:
    if not written.strip():
        if not fallback:
            raise ImproperlyConfigured("no encryption key is configured")
        key = HKDF(SHA256(), KEY_BYTES, None, _INFO).derive(fallback.encode())
        return KeyRing(FALLBACK_ID, {FALLBACK_ID: AESGCM(key)})
    keys: dict[str, AESGCM] = {}
    for entry in written.split(","):
        name, key = _entry(entry.strip())
        if name in keys:
            raise ImproperlyConfigured(f"POLYMUX_ENCRYPTION_KEYS names {name!r} twice")
        keys[name] = AESGCM(key)
    if fallback and FALLBACK_ID not in keys:
        keys[FALLBACK_ID] = AESGCM(HKDF(SHA256(), KEY_BYTES, None, _INFO).derive(fallback.encode()))
    return KeyRing(next(iter(keys)), keys)


def _entry(entry: str) -> tuple[str, bytes]:
    name, _, text = entry.partition(":")
    if not (name.isascii() and name.isalnum() and len(name) <= 32):
        raise ImproperlyConfigured("POLYMUX_ENCRYPTION_KEYS: an id is 1 to 32 letters and digits")
    try:
        key = base64.b64decode(
            text, altchars=b"-_" if set(text) & {"-", "_"} else None, validate=True
        )
    except (binascii.Error, ValueError):
        raise ImproperlyConfigured(f"POLYMUX_ENCRYPTION_KEYS: key {name!r} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ImproperlyConfigured(f"POLYMUX_ENCRYPTION_KEYS: key {name!r} is not 32 bytes")
    return name, key


# --- Tokens ---------------------------------------------------------------------------------------


def digest(token: str) -> bytes:
    """What is kept of a token: its SHA-256. Tokens are random, so that needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def new_token(prefix: str) -> str:
    """A fresh secret, `prefix` and 256 random bits."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def same(a: str | bytes, b: str | bytes) -> bool:
    """True if equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
