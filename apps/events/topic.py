"""A workspace's readers in this process: the rows are read once and handed to all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from apps.core.aio import db_call
from apps.events import log, relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from apps.events.log import EventRow
    from apps.events.stream import Subscription

logger = logging.getLogger(__name__)

ROWS_A_READ = 500
RECENT_ROWS = 256


class Topic:
    """A workspace with readers in this process. `cursor`: every row up to it has been fanned out."""

    def __init__(self, workspace_id: UUID, forget: Callable[[Topic], None]) -> None:
        self.workspace_id = workspace_id
        self.cursor = 0
        self.known = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reading: asyncio.Task[None] | None = None
        self.whole: set[Subscription] = set()
        self.by_session: dict[UUID, set[Subscription]] = {}
        self.recent: deque[EventRow] = deque(maxlen=RECENT_ROWS)
        self.expected = 0  # subscribers that wait for `ready`
        self._forget = forget

    @property
    def subscriptions(self) -> list[Subscription]:
        return [*self.whole, *(sub for subs in self.by_session.values() for sub in subs)]

    @property
    def empty(self) -> bool:
        return not (self.whole or self.by_session or self.expected)

    def join(self, sub: Subscription) -> None:
        if sub.session_id is None:
            self.whole.add(sub)
        else:
            self.by_session.setdefault(sub.session_id, set()).add(sub)

    def leave(self, sub: Subscription) -> None:
        if sub.session_id is None:
            self.whole.discard(sub)
        elif (subs := self.by_session.get(sub.session_id)) is not None:
            subs.discard(sub)
            if not subs:
                del self.by_session[sub.session_id]
                relay.unfollow(sub.session_id)
        if self.empty:
            self._forget(self)

    def recent_after(self, seq: int) -> list[EventRow] | None:
        """The rows after `seq` when all of them are still at hand, else None."""
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        return [row for row in self.recent if row.seq > seq]

    def fan_out(self, rows: Iterable[EventRow]) -> None:
        """Offer the rows, in order. Sync on purpose: nobody may join halfway."""
        for row in rows:
            self.recent.append(row)
            for sub in tuple(self.whole):
                sub.offer(row)
            if row.session_id is not None:
                for sub in tuple(self.by_session.get(row.session_id, ())):
                    sub.offer(row)
            self.cursor = row.seq

    def poke(self, seq: int) -> None:
        """The log has reached `seq`: read, unless a read that will see it is under way."""
        self.known = max(self.known, seq)
        if self.known > self.cursor and self.ready.done() and self.reading is None:
            self.reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            while self.known > self.cursor:
                known = self.known
                # Not beyond what we were told of: a row's own nudge comes after its session's tokens.
                rows = await db_call(
                    log.log_after, self.workspace_id, self.cursor, upto=known, limit=ROWS_A_READ
                )
                told = {row.session_id for row in rows}
                await relay.settled([s for s in self.by_session if s in told])
                self.fan_out(rows)
                if not rows:  # retention has removed what we were told of
                    self.cursor = max(self.cursor, known)
        except Exception:
            logger.warning("reading the log failed; the next heartbeat tries again", exc_info=True)
        finally:
            self.reading = None
