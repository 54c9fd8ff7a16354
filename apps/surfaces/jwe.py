"""Auth.js session tokens: JWE, `dir` with A256CBC-HS512 or A256GCM (contract/polyant.md §A.1)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from apps.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

COOKIES = ("authjs.session-token", "__Secure-authjs.session-token")
ALGORITHMS = ["dir", "A256CBC-HS512", "A256GCM"]
KEY_BYTES = {"A256CBC-HS512": 64, "A256GCM": 32}
TOLERANCE = 15  # seconds
MAX_TOKEN = 16_384
MAX_CHUNKS = 10  # Auth.js splits a long cookie into name.0, name.1, …
BAD_SESSION = "Invalid or expired session"
LIFE = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """Who a panel session says it is. `from_header`: it came as a bearer, not as a cookie."""

    subject: str
    email: str
    name: str
    from_header: bool


def find_session(bearer: str | None, cookies: Mapping[str, str]) -> Session | None:
    """The session sent, None when none was; Unauthenticated when it is not good."""
    if bearer:
        return _session(open_token(bearer, COOKIES), from_header=True)
    for name in COOKIES:
        if raw := _cookie(cookies, name):
            others = tuple(other for other in COOKIES if other != name)
            return _session(open_token(raw, (name, *others)), from_header=False)
    return None


def looks_like_one(raw: str) -> bool:
    """True for five dot-separated parts: worth trying to open."""
    return raw.count(".") == 4


def open_token(raw: str, salts: tuple[str, ...]) -> dict[str, Any]:
    """The claims of a token sealed with one of `salts` (cookie names); Unauthenticated."""
    if settings.AUTH_SECRET and len(raw) <= MAX_TOKEN and looks_like_one(raw):
        for salt in salts:
            claims = _decrypted(raw, salt)
            if claims is not None and _in_time(claims):
                return claims
    raise Unauthenticated(BAD_SESSION)


def seal_token(
    claims: dict[str, Any], *, salt: str = COOKIES[0], enc: str = "A256CBC-HS512"
) -> str:
    """A session token as Auth.js would make it, good for 30 days unless `claims` says otherwise."""
    now = int(time.time())
    body = json.dumps({"iat": now, "exp": now + LIFE, **claims}).encode()
    key = _key(settings.AUTH_SECRET, salt, KEY_BYTES[enc])
    return jwe.encrypt_compact({"alg": "dir", "enc": enc}, body, key, algorithms=ALGORITHMS)


def _decrypted(raw: str, salt: str) -> dict[str, Any] | None:
    for size in sorted(set(KEY_BYTES.values()), reverse=True):
        try:
            token = jwe.decrypt_compact(
                raw, _key(settings.AUTH_SECRET, salt, size), algorithms=ALGORITHMS
            )
            claims = json.loads(token.plaintext or b"")
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        return claims if isinstance(claims, dict) else None
    return None


@lru_cache(maxsize=16)
def _key(secret: str, salt: str, size: int) -> OctKey:
    info = f"Auth.js Generated Encryption Key ({salt})".encode()
    return OctKey.import_key(HKDF(SHA256(), size, salt.encode(), info).derive(secret.encode()))


def _in_time(claims: dict[str, Any]) -> bool:
    now = time.time()
    exp, issued, begins = (claims.get(name) for name in ("exp", "iat", "nbf"))
    if not _is_number(exp) or exp + TOLERANCE <= now:
        return False
    return all(
        moment is None or (_is_number(moment) and moment - TOLERANCE <= now)
        for moment in (issued, begins)
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cookie(cookies: Mapping[str, str], name: str) -> str:
    if whole := cookies.get(name):
        return whole
    parts = []
    for index in range(MAX_CHUNKS):
        part = cookies.get(f"{name}.{index}")
        if part is None:
            break
        parts.append(part)
    return "".join(parts)


def _session(claims: dict[str, Any], *, from_header: bool) -> Session:
    subject, email = claims.get("sub") or claims.get("id"), claims.get("email")
    if not (isinstance(subject, str) and isinstance(email, str) and subject and email):
        raise Unauthenticated(BAD_SESSION)
    name = claims.get("name")
    return Session(subject, email, name if isinstance(name, str) else "", from_header)
