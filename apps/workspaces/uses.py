"""When a credential was last used: at most one write a minute, and none of it in the request."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection, connections

from apps.core.aio import db_executor

if TYPE_CHECKING:
    from uuid import UUID

log = logging.getLogger(__name__)

USE_NOTED_EVERY = 60.0  # seconds
MAX_NOTED = 20_000

_noted: dict[UUID, float] = {}

_NOTE_USE = """UPDATE workspaces_apitoken SET last_used_at = now()
 WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '60 seconds')"""


def note_use(token_id: UUID, last_used: datetime | None) -> None:
    """Write down, on another thread, that the token was used, unless that was done this minute."""
    clock = time.monotonic()
    if clock - _noted.get(token_id, -USE_NOTED_EVERY) < USE_NOTED_EVERY:
        return
    if len(_noted) >= MAX_NOTED:
        _noted.clear()  # forgetting costs one needless conditional update a token
    _noted[token_id] = clock
    if last_used is None or datetime.now(UTC) - last_used >= timedelta(seconds=USE_NOTED_EVERY):
        db_executor().submit(_write_use, token_id)


def _write_use(token_id: UUID) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE_USE, [token_id])
    except DatabaseError:
        log.warning("could not note the use of a token", exc_info=True)
    finally:
        connections.close_all()
