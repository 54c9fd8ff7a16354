"""What the tests of polpo's feeds say and hear: a fact with a word of its own, and two listeners."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from django.db import transaction
from httpx_sse import aconnect_sse
from websockets.asyncio.client import connect

from apps.core.aio import db_call
from apps.core.facts import Fact
from apps.events import words
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.core.actor import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Fact):
    """Told as `note:taken`; `twice` as `note:again`, too."""

    name: ClassVar[str] = "test.noted"
    text: str = ""
    twice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Fact):
    """A fact without a word."""

    name: ClassVar[str] = "test.kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasked(Fact):
    """Told as `task:retry:blocked`."""

    name: ClassVar[str] = "test.tasked"
    text: str = ""


@contextmanager
def spoken_notes() -> Iterator[None]:
    words.speak("polpo", Noted.name, "note:taken", lambda said: {"text": said["text"]})
    words.speak(
        "polpo",
        Noted.name,
        "note:again",
        lambda said: {"text": said["text"]} if said["twice"] else None,
    )
    words.speak("polpo", Tasked.name, "task:retry:blocked")
    yield
    words.hush("polpo", Noted.name)
    words.hush("polpo", Tasked.name)


def say(actor: Actor, *facts: Fact) -> int:
    with transaction.atomic():
        return publish(actor, *facts)


def note(actor: Actor, *texts: str) -> int:
    return say(actor, *(Noted(text=text) for text in texts))


async def note_soon(actor: Actor, *texts: str) -> int:
    return await db_call(note, actor, *texts)


class Feed:
    """An open SSE stream."""

    def __init__(self, source: Any) -> None:
        self.response = source.response
        self._events = source.aiter_sse()

    async def next(self, seconds: float = 10.0) -> Any:
        async with asyncio.timeout(seconds):
            return await anext(self._events)

    async def take(self, count: int) -> list[Any]:
        return [await self.next() for _ in range(count)]

    async def texts(self, count: int) -> list[str]:
        """Of that many notes, in either form."""
        return [told(event)["data"]["text"] for event in await self.take(count)]

    async def ended(self, seconds: float) -> bool:
        try:
            while True:
                await self.next(seconds)
        except StopAsyncIteration:
            return True


def told(event: Any) -> dict[str, Any]:
    """`{event, data}` of an SSE event in either form."""
    data = json.loads(event.data)
    return data if event.event == "message" else {"event": event.event, "data": data}


class Feeds:
    """The feeds of a server, as one key opens them."""

    def __init__(self, port: int, key: str) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.key = key
        self.clients: list[httpx.AsyncClient] = []

    async def open(self, path: str = "/api/v1/projects/aurora/events", **headers: str) -> Feed:
        client = httpx.AsyncClient(base_url=self.base, headers={"X-API-Key": self.key} | headers)
        self.clients.append(client)
        client.stack = aconnect_sse(client, "GET", path)  # type: ignore[attr-defined]
        return Feed(await client.stack.__aenter__())  # type: ignore[attr-defined]

    async def close(self) -> None:
        for client in self.clients:
            await client.stack.__aexit__(None, None, None)  # type: ignore[attr-defined]
            await client.aclose()

    def socket(self, path: str = "/api/v1/projects/aurora/ws", **options: Any) -> Any:
        options.setdefault("additional_headers", {"X-API-Key": self.key})
        return connect(self.base.replace("http", "ws") + path, **options)


async def frame(socket: Any, seconds: float = 10.0) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        return json.loads(await socket.recv())


async def settled(socket: Any) -> None:
    """Everything sent so far has been heard."""
    await socket.send('{"type":"ping"}')
    while (await frame(socket))["type"] != "pong":
        pass
