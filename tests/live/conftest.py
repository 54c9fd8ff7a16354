"""Tests over real sockets: `client` speaks REST as Ada, `attach` opens a session's WebSocket."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from apps.conversations.overlord import forget_crews
from apps.conversations.targets import forget_setups
from apps.runs import runner
from tests.support.stack import Stack, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="package")
def _stack(django_db_setup: None) -> Iterator[Stack]:
    started = Stack()
    started.start()
    yield started
    started.stop()


@pytest.fixture
def stack(_stack: Stack, transactional_db: None, settings: Any) -> Iterator[Stack]:
    """The running product, with an empty database and a provider that has forgotten its scripts."""
    from django.db import connections

    settings.MODEL_ENDPOINTS = [f"stub={_stack.base_url}"]
    settings.DEFAULT_MODEL = "stub/default"
    settings.RATE_READ_PER_MIN = settings.RATE_WRITE_PER_MIN = 100_000
    forget_setups()
    forget_crews()
    _stack.stub.reset()
    yield _stack
    wait_until(lambda: not runner.live_count())  # a turn must not outlive its test's rows
    connections.close_all()


@pytest.fixture
def client(stack: Stack, aurora: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, headers=aurora.ada_headers, timeout=20) as http:
        yield http


@pytest.fixture
def session(client: httpx.Client) -> dict[str, Any]:
    """A new session of Ada's, as the API answers it (with its `session_token`)."""
    answer = client.post("/sessions", json={"title": "A talk"})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def kim(stack: Stack, team: Any) -> Iterator[httpx.Client]:
    """An end user of the formation `team`, through the proxy: paths are relative to its `/v1`."""
    with as_user(stack, team, "kim") as http:
        yield http


def as_user(stack: Stack, team: Any, user: str, key: str = "client") -> httpx.Client:
    headers = team.headers(key, user)
    return httpx.Client(base_url=f"{stack.url}/api/{team.slug}/v1", headers=headers, timeout=20)


class Attached:
    """One socket of a session. `frames` keeps everything heard."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def next(self, seconds: float = 10.0) -> dict[str, Any]:
        frame = json.loads(await asyncio.wait_for(self.socket.recv(), seconds))
        self.frames.append(frame)
        return frame

    async def until(self, kind: str, **payload: Any) -> dict[str, Any]:
        """The next frame of that type whose payload has these values."""
        while True:
            frame = await self.next()
            said = frame["payload"]
            if frame["type"] == kind and all(said.get(k) == v for k, v in payload.items()):
                return frame

    async def closed_with(self) -> int:
        """The server's close code; what it says before that is read."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0

    async def say(self, kind: str, **payload: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, "payload": payload}))

    @property
    def heard(self) -> str:
        """The partial texts, joined."""
        partial = [f["payload"] for f in self.frames if f["type"] == "message"]
        return "".join(p["content"] for p in partial if p["is_partial"])


@asynccontextmanager
async def attach(
    session: dict[str, Any], token: str = "", query: str = ""
) -> AsyncIterator[Attached]:
    bearer = token or session["session_token"]
    subprotocols: Any = ["polymux.v1", f"bearer.{bearer}"]
    async with connect(session["websocket_url"] + query, subprotocols=subprotocols) as socket:
        yield Attached(socket)
