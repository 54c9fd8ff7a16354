"""Database work from the loop: connections go back, and a restarted server fails nobody."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg
import pytest
from django.db import connection

from apps.core import aio
from apps.core.aio import db_call
from apps.core.errors import Unavailable
from polymux.postgres.base import DatabaseWrapper


@pytest.fixture
def pooled(transactional_db: None) -> Any:
    made = DatabaseWrapper({**connection.settings_dict, "CONN_HEALTH_CHECKS": False}, "pooled")
    made.inc_thread_sharing()
    yield made
    made.close()
    made.close_pool()


def ask(wrapper: Any) -> int:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_a_server_that_restarted_while_we_were_idle_fails_nobody(pooled: Any) -> None:
    pool = pooled.pool
    pool.open()
    held = [pool.getconn() for _ in range(6)]
    pids = [c.info.backend_pid for c in held]
    for c in held:
        pool.putconn(c)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [pids])
    for _ in range(12):
        assert ask(pooled) not in pids
        pooled.close()


def test_a_live_connection_is_used_again_without_a_question(pooled: Any) -> None:
    first = ask(pooled)
    pooled.close()
    assert ask(pooled) == first


async def test_connections_return_after_each_call(transactional_db: None) -> None:
    def used() -> bool:
        connection.ensure_connection()
        return connection.connection is not None

    def out() -> int:
        stats = connection.pool.get_stats()
        return int(stats["pool_size"] - stats["pool_available"])

    before = out()  # this test's own, and what threads of other tests hold
    assert all(await asyncio.gather(*(db_call(used) for _ in range(40))))
    await asyncio.sleep(0)
    assert out() <= before
    assert connection.pool.get_stats()["pool_size"] <= connection.pool.max_size


async def test_a_failing_call_returns_its_connection_too(transactional_db: None) -> None:
    def fail() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    for _ in range(30):
        with pytest.raises(Exception, match="division by zero"):
            await db_call(fail)
    assert connection.pool.get_stats()["requests_waiting"] == 0


async def test_calls_beyond_the_bound_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "MOST_CALLS", aio.db_executor()._max_workers)
    go = threading.Event()
    waiting = [asyncio.create_task(db_call(go.wait, 10)) for _ in range(aio.MOST_CALLS)]
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable):
        await db_call(int)
    go.set()
    await asyncio.gather(*waiting)
    assert await db_call(int) == 0


def test_a_dead_socket_is_seen_without_asking(transactional_db: None) -> None:
    from polymux.postgres.base import is_alive

    params = connection.get_connection_params()
    params = {
        k: v for k, v in params.items() if k in {"dbname", "user", "host", "port", "password"}
    }
    with psycopg.connect(**params, autocommit=True) as one:
        assert is_alive(one)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [one.info.backend_pid])
        threading.Event().wait(0.2)
        assert not is_alive(one)
