"""A hub on the test's own loop, facts to publish, and an encoder that tells them plainly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import pytest
import pytest_asyncio
from django.db import transaction

from apps.core import aio
from apps.core.actor import Actor
from apps.core.facts import Fact
from apps.events import frames
from apps.events import hub as hubs
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Fact):
    name: ClassVar[str] = "test.told"
    session_id: UUID | None = None
    text: str = ""


class Plain:
    """`("event", n, text, seq)` and `("tokens", text, seq)`."""

    name = "plain"

    def event(self, row: Any) -> list[tuple[Any, ...]]:
        return (
            [] if row.payload.get("text") == "silent" else [("event", row.seq, row.payload["text"])]
        )

    def tokens(self, chunk: Any) -> list[tuple[Any, ...]]:
        return [("tokens", chunk.text)]

    def seal(self, piece: tuple[Any, ...], seq: int | None) -> Any:
        return (*piece, seq)

    def ending(self, row: Any) -> int:
        return 4410 if row.payload.get("text") == "the end" else 0


def tell(actor: Actor, *texts: str, session_id: UUID | None = None) -> int:
    with transaction.atomic():
        return publish(actor, *(Told(text=text, session_id=session_id) for text in texts))


async def tell_soon(actor: Actor, *texts: str, session_id: UUID | None = None) -> int:
    return await aio.db_call(tell, actor, *texts, session_id=session_id)


async def read_until(sub: Any, last: str, patience: float = 15.0) -> list[Any]:
    """Everything up to the frame that contains `last`."""
    seen: list[Any] = []
    async with asyncio.timeout(patience):
        while not any(last in str(frame) for frame in seen):
            seen += await sub.next()
    return seen


async def still(sub: Any, seconds: float = 0.15) -> list[Any]:
    """What comes within that time."""
    seen: list[Any] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                seen += await sub.next()
    except TimeoutError:
        return seen


@asynccontextmanager
async def running_hub() -> AsyncIterator[hubs.Hub]:
    aio.adopt_loop(asyncio.get_running_loop())
    frames.forget_all()
    hub = hubs.hub()
    hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
        frames.forget_all()
        aio.adopt_loop(None)


@pytest_asyncio.fixture
async def hub(transactional_db: None) -> AsyncIterator[hubs.Hub]:
    async with running_hub() as started:
        yield started


@pytest.fixture
def actor(transactional_db: None) -> Actor:
    from apps.workspaces.models import Workspace

    return Actor.for_engine(Workspace.objects.create(name="Aurora", slug="aurora").pk)
