"""Counters of fixed windows: one atomic step per hit, wherever the count is kept.

Redis when `REDIS_URL` is set (shared by all processes), PostgreSQL when `RATE_STORE` is "postgres",
else this process's memory. A Redis that does not answer costs a warning, never a request: the memory
of the process counts until it is back.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import redis
from django.conf import settings
from django.db import connection

from apps.surfaces.models import RateWindow

log = logging.getLogger(__name__)

MAX_KEYS = 50_000  # in one process's memory
MAX_KEY_LENGTH = 160
REDIS_TIMEOUT = 0.25  # seconds a request may wait for the counter
KEPT_SECONDS = 3600  # how long an ended window's row may lie
REDIS_PAUSE = 2.0  # seconds between two tries while Redis is away


@dataclass(frozen=True, slots=True)
class State:
    """A bucket after a hit. `reset` is the epoch second at which the window ends."""

    limit: int
    remaining: int
    reset: int
    allowed: bool

    @property
    def retry_after(self) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, self.reset - int(time.time()))

    def headers(self) -> dict[str, str]:
        """`X-RateLimit-*`, with `Reset` in seconds from now: all but polymux's own surface say so."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.retry_after),
        }


class Store(Protocol):
    """Adds `amount` to a key's count in the window that begins at `start`; answers the count."""

    def add(self, key: str, start: int, window: int, amount: int) -> int: ...


class MemoryStore:
    """Counts in this process, at most `MAX_KEYS` of them."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}  # key -> (start, end, used)
        self._lock = threading.Lock()
        self._max_keys = max_keys

    def add(self, key: str, start: int, window: int, amount: int) -> int:
        with self._lock:
            known, _, used = self._counts.get(key, (start, 0, 0))
            used = amount if known != start else used + amount
            if amount:
                if key not in self._counts and len(self._counts) >= self._max_keys:
                    self._make_room(start)
                self._counts[key] = (start, start + window, used)
            return used

    def _make_room(self, now: int) -> None:
        self._counts = {key: row for key, row in self._counts.items() if row[1] > now}
        while len(self._counts) >= self._max_keys:
            del self._counts[next(iter(self._counts))]

    def __len__(self) -> int:
        return len(self._counts)


class RedisStore:
    """Counts in Redis; in `spare` while Redis is away."""

    def __init__(self, url: str, spare: Store) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            max_connections=64,
        )
        self._spare = spare
        self._away_until = 0.0
        self._away = False

    def add(self, key: str, start: int, window: int, amount: int) -> int:
        if time.monotonic() >= self._away_until:
            try:
                return self._add(key, start, window, amount)
            except redis.RedisError as error:
                self._note_outage(error)
        return self._spare.add(key, start, window, amount)

    def _add(self, key: str, start: int, window: int, amount: int) -> int:
        name = f"polymux:rate:{key}:{start}"
        with self._client.pipeline(transaction=True) as pipe:
            pipe.incrby(name, amount)
            pipe.expire(name, window + 5)
            used = int(pipe.execute()[0])
        if self._away:
            self._away = False
            log.warning("rate limits: Redis is back")
        return used

    def _note_outage(self, error: Exception) -> None:
        self._away_until = time.monotonic() + REDIS_PAUSE
        if not self._away:
            self._away = True
            log.warning(
                "rate limits: Redis does not answer (%s); counting in memory", type(error).__name__
            )


class PostgresStore:
    """Counts in `RateWindow`: one UPSERT a hit, outside any transaction of the request."""

    SQL = (
        "INSERT INTO surfaces_ratewindow AS w (key, window_start, used) VALUES (%s, %s, %s) "
        "ON CONFLICT (key) DO UPDATE SET window_start = EXCLUDED.window_start, used = EXCLUDED.used + "
        "CASE WHEN w.window_start = EXCLUDED.window_start THEN w.used ELSE 0 END RETURNING used"
    )

    def add(self, key: str, start: int, window: int, amount: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(self.SQL, [key, start, amount])
            return int(cursor.fetchone()[0])


@lru_cache(maxsize=1)
def store() -> Store:
    """The store the settings ask for, made once a process (`store.cache_clear()` in tests)."""
    memory = MemoryStore()
    if settings.REDIS_URL:
        return RedisStore(settings.REDIS_URL, memory)
    if settings.RATE_STORE == "postgres":
        return PostgresStore()
    return memory


def hit(key: str, limit: int, window: int = 60) -> State:
    """Count one request under `key`; `allowed` is False for every one after the `limit`-th."""
    return _state(key, limit, window, 1)


def peek(key: str, limit: int, window: int = 60) -> State:
    """The bucket as it stands, counting nothing."""
    return _state(key, limit, window, 0)


def _state(key: str, limit: int, window: int, amount: int) -> State:
    if len(key) > MAX_KEY_LENGTH:
        key = hashlib.sha256(key.encode()).hexdigest()
    start = int(time.time()) // window * window
    used = store().add(key, start, window, amount)
    return State(limit, max(0, limit - used), start + window, used <= limit)


def forget_expired(limit: int) -> int:
    """Delete at most `limit` rows of windows that ended a while ago; how many went."""
    old = RateWindow.objects.filter(window_start__lt=int(time.time()) - KEPT_SECONDS)
    keys = list(old.order_by("window_start").values_list("key", flat=True)[:limit])
    return RateWindow.objects.filter(key__in=keys).delete()[0]
