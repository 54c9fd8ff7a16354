"""A socket and a stream as an app would write them, and a server to try them on."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from django.conf import settings

from apps.core.actor import Actor, Scope
from apps.core.aio import db_call
from apps.core.errors import NotFound, ScopeInsufficient, TokenMissing, Unauthenticated
from apps.core.ids import parse_id
from apps.events import sse
from apps.events.errors import BadFrame
from apps.events.http import StreamingApp
from apps.events.hub import hub
from apps.events.socket import Context, LiveSocket
from apps.surfaces import polymux
from apps.workspaces.models import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = {"good"}


def enter(seen: Any) -> Actor:
    """The workspace in the path; the token is a word."""
    token = polymux.token_of(seen) or seen.query.get("token")
    if token is None:
        raise TokenMissing
    if token == "reader":
        raise ScopeInsufficient(required="write")
    if token not in ALLOWED:
        raise Unauthenticated
    workspace_id = parse_id("ws", seen.path.strip("/").split("/")[1])
    if not Workspace.objects.filter(pk=workspace_id).exists():
        raise NotFound
    return Actor.for_engine(workspace_id)


class Room(LiveSocket):
    surface = polymux.SURFACE

    async def authorize(self, credentials: Any) -> Context:
        actor = await db_call(enter, credentials)
        session = credentials.query.get("session")
        return Context(
            actor,
            parse_id("ses", session) if session else None,
            session or "",
            lambda: (polymux.token_of(credentials) or "") in ALLOWED,
        )

    async def opening_frames(self, context: Context) -> list[Any]:
        return [("session_state", {"resync": self.sub.gap})]

    def translate(self, row: Any) -> list[Any]:
        return [("told", {"text": row.payload["text"]})]

    def translate_tokens(self, chunk: Any) -> list[Any]:
        return [("message", {"content": chunk.text, "is_partial": True})]

    def ending(self, row: Any) -> int:
        return 4410 if row.payload["text"] == "the end" else 0

    async def on_frame(self, kind: str, payload: dict[str, Any]) -> None:
        if kind != "say":
            raise BadFrame(f"{kind} is unknown.")
        if payload.get("text") == "forbidden":
            raise ScopeInsufficient(required=Scope.WRITE.word)
        if payload.get("text") == "boom":
            raise ZeroDivisionError
        self.tell("said", payload)


class Feed(StreamingApp):
    surface = polymux.SURFACE

    async def respond(self, exchange: Any, body: bytes) -> None:
        actor = await db_call(enter, exchange.seen)
        since = sse.last_event_id(exchange.seen.headers, exchange.seen.query)
        encoder = sse.SseEncoder("feed", lambda row: [(row.name, row.payload)])
        sub = await hub().subscribe(actor.workspace_id, encoder, since=since)
        await sse.serve(exchange, sub, since=since)


class Breaking(StreamingApp):
    """Echoes its body, then breaks."""

    surface = polymux.SURFACE

    async def respond(self, exchange: Any, body: bytes) -> None:
        await exchange.start()
        await exchange.write(body)
        raise ZeroDivisionError

    def in_band(self, exchange: Any, error: BaseException) -> bytes:
        return b"[broken]"


room, feed, breaking = Room.as_app(), Feed(), Breaking()
SOCKETS = [(r"/workspace/[^/]+/?", "tests.events.rooms.room")]
STREAMS = [
    ("GET", r"/workspaces/[^/]+/feed", "tests.events.rooms.feed"),
    ("POST", r"/echo", "tests.events.rooms.breaking"),
]


@contextmanager
def served(**options: Any) -> Iterator[int]:
    """A real server on a thread of its own; its port."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    from polymux.asgi import SERVER_OPTIONS, Router

    config = uvicorn.Config(
        Router(SOCKETS, STREAMS),
        port=0,
        log_config=None,
        access_log=False,
        **{**SERVER_OPTIONS, "timeout_graceful_shutdown": 2, **options},
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(500):
        if server.started:
            break
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"
