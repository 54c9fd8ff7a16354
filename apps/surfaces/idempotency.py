"""`Idempotency-Key`: one operation a key, its answer kept a day (contract/polymux.md §1.6).

The claim is an INSERT that one request wins. A process that dies in the middle leaves the claim: the
outcome is unknown, so the key answers "in progress" until it expires; at most once beats twice.
Answers may hold a secret that is shown once (a new token), so they are kept sealed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection

from apps.core.clock import now
from apps.core.crypto import SealBroken, context_of, open_sealed, seal
from apps.core.errors import IdempotencyConflict, InvalidInput
from apps.surfaces.models import IdempotentReply

if TYPE_CHECKING:
    from apps.surfaces.kit import Reply

KEPT = timedelta(hours=24)
LONGEST_KEY = 255
MAX_STORED_BODY = 1_048_576  # bytes; a longer answer is not kept and its key is free again
IN_PROGRESS = 0
REPLAY_HEADER = "Idempotent-Replay"
_KEPT_HEADERS = ("Content-Type", "Location", "ETag")
_CLAIM = (
    "INSERT INTO surfaces_idempotentreply "
    "(credential, key, fingerprint, status, headers, body, created_at) "
    "VALUES (%s, %s, %s, 0, '{}', '', now()) ON CONFLICT (credential, key) DO UPDATE SET "
    "fingerprint = EXCLUDED.fingerprint, status = 0, headers = '{}', body = '', created_at = now() "
    "WHERE surfaces_idempotentreply.created_at < now() - interval '24 hours' RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """This request carries out the operation; `keep` or `release` must follow."""

    row: int

    def keep(self, reply: Reply) -> None:
        """Store the answer for the key's later uses."""
        if len(reply.body) > MAX_STORED_BODY:
            self.release()
            return
        kept = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        IdempotentReply.objects.filter(id=self.row).update(
            status=reply.status, headers=kept, body=seal(reply.body, context=_context(self.row))
        )

    def release(self) -> None:
        """Forget the claim: nothing was done, the client may try again."""
        IdempotentReply.objects.filter(id=self.row, status=IN_PROGRESS).delete()


def fingerprint(method: str, path: str, query: str, body: bytes) -> str:
    """What makes two requests the same, as hex."""
    digest = hashlib.sha256(f"{method}\n{path}\n{query}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def claim(credential: str, key: str, mark: str) -> Claim | IdempotentReply:
    """A claim for the first request, the kept answer for later ones.

    `InvalidInput` for a key that is empty, too long or not text; `IdempotencyConflict` for the same
    key with another `mark`, or while the first request is still in progress.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidInput("Idempotency-Key must be 1 to 255 printable characters.")
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [credential, key, mark])
        row = cursor.fetchone()
    if row:
        return Claim(row[0])
    kept = IdempotentReply.objects.filter(credential=credential, key=key).first()
    if kept is None or kept.status == IN_PROGRESS or kept.fingerprint != mark:
        raise IdempotencyConflict
    try:
        kept.body = open_sealed(kept.body, context=_context(kept.pk))
    except SealBroken:  # its key has left the ring: what was answered is not known any more
        raise IdempotencyConflict from None
    return kept


def is_in_progress(credential: str, key: str) -> bool:
    """Whether the first request with this key is still being carried out."""
    rows = IdempotentReply.objects.filter(credential=credential, key=key, status=IN_PROGRESS)
    return rows.exists()


def _context(row: int) -> str:
    return context_of("", "surfaces_idempotentreply", row, "body")


def forget_expired(limit: int) -> int:
    """Delete at most `limit` expired rows; how many went."""
    old = IdempotentReply.objects.filter(created_at__lt=now() - KEPT).order_by("created_at")[:limit]
    return IdempotentReply.objects.filter(id__in=list(old.values_list("id", flat=True))).delete()[0]
