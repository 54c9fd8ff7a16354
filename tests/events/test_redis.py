"""Several processes over a real Redis, and Redis going away."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.events import hub as hubs
from apps.events.hub import StreamClosed
from tests.events.conftest import Plain, read_until, running_hub, still, tell_soon
from tests.support.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("redis-server") is None and not os.environ.get("POLYMUX_REQUIRE_SERVICES"),
        reason="no redis-server",
    ),
]


@pytest.fixture
def redis(tmp_path: Path, settings: Any) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    settings.REDIS_URL = server.url
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [server.url], "prefix": "polymux"},
        }
    }
    yield server
    server.kill()


@contextmanager
def elsewhere(redis: Redis, *ids: Any) -> Iterator[Any]:
    """`say("tell hello")` in another process."""
    database = connection.settings_dict
    environment = {
        **os.environ,
        "REDIS_URL": redis.url,
        "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}",
    }
    if database["PORT"]:
        environment["DATABASE_URL"] += f"&port={database['PORT']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.events.elsewhere", *map(str, ids)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        async def say(line: str) -> None:
            def write() -> str:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                return process.stdout.readline()

            assert await asyncio.to_thread(write) == "done\n"

        yield say
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


async def be_heard(sub: Any, say: Any) -> None:
    """Until the other process's nudges arrive: a channel is subscribed to a moment after it is asked for."""
    async with asyncio.timeout(15):
        while not await still(sub, 0.3):
            await say("tell warm")


async def test_facts_tokens_and_revocations_of_another_process_arrive(
    actor: Actor, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 60.0)  # nothing but nudges
    session, run, token = uuid7(), uuid7(), uuid7()
    async with running_hub() as hub:
        with elsewhere(redis, actor.workspace_id, session, run) as say:
            sub = await hub.subscribe(
                actor.workspace_id, Plain(), session_id=session, token_id=token
            )
            await be_heard(sub, say)
            await say("tell question")
            await say("say a")
            await say("say b")
            await say("tell call")
            await say("say c")
            await say("finish")
            await say("tell answer")
            got = await read_until(sub, "answer")
            words = "".join(f"<{f[2]}>" if f[0] == "event" else f[1] for f in got)
            assert words == "<question>ab<call>c<answer>"
            back = await hub.subscribe(
                actor.workspace_id, Plain(), session_id=session, since=got[1][-1]
            )
            assert await read_until(back, "answer") == got[2:]
            await say(f"revoke {token}")
            async with asyncio.timeout(5):
                with pytest.raises(StreamClosed) as closed:
                    await sub.next()
            assert closed.value.code == 4401


async def test_redis_gone_for_seconds_fails_nothing_and_loses_nothing(
    actor: Actor, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 1.0)
    session, run = uuid7(), uuid7()
    async with running_hub() as hub:
        with elsewhere(redis, actor.workspace_id, session, run) as say:
            sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=session)
            await be_heard(sub, say)
            await say("tell before")
            await read_until(sub, "before")
            redis.kill()
            began = time.monotonic()
            await tell_soon(actor, "from here", session_id=session)
            assert time.monotonic() - began < 1, "publishing does not wait for Redis"
            await read_until(sub, "from here", patience=2)
            await say("tell from there")
            await read_until(sub, "from there", patience=5)
            await say("say waits")
            await asyncio.sleep(2)
            redis.start()
            got = await read_until(sub, "waits", patience=10)
            assert got[0][0] == "tokens"
            monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 60.0)
            await asyncio.sleep(2.5)  # past the last short heartbeat, and past reconnecting
            await say("tell live again")
            await read_until(sub, "live again", patience=3)


async def test_a_hub_that_starts_without_redis_serves_and_joins_later(
    actor: Actor, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.kill()
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.5)
    async with running_hub() as hub:
        sub = await hub.subscribe(actor.workspace_id, Plain(), session_id=uuid7())
        other = await hub.subscribe(actor.workspace_id, Plain())
        await tell_soon(actor, "without")
        await read_until(other, "without", patience=3)
        redis.start()
        async with asyncio.timeout(15):
            while not hub._joined:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        sub.close()
