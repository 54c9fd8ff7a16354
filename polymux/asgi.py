"""The server's application: a small router in front of Django (design §5).

WebSockets and streaming routes are bare ASGI applications on the loop, imported when first used;
everything else goes to Django's own handler on a fixed pool of threads (`polymux/bridge.py`).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

from django.core.wsgi import get_wsgi_application

_django = get_wsgi_application()  # sets Django up: the imports below need it

from apps.core import aio  # noqa: E402
from apps.surfaces.kit import domain_error  # noqa: E402
from polymux.bridge import ThreadBridge  # noqa: E402
from polymux.gateway import addresses  # noqa: E402

if TYPE_CHECKING:
    from apps.events.http import Receive, Scope, Send

log = logging.getLogger("polymux.asgi")

# What `uvicorn.Config` gets in every mode: small frames, no compression (memory), a ping each 25 s and
# the end after two of them went unanswered.
SERVER_OPTIONS: dict[str, Any] = {
    "ws": "polymux.liveness:LivenessProtocol",
    "ws_max_size": 256 * 1024,
    "ws_max_queue": 8,
    "ws_ping_interval": 25.0,
    "ws_ping_timeout": 50.0,
    "ws_per_message_deflate": False,
    "server_header": False,
    "timeout_graceful_shutdown": 10,
}

# (path, dotted name of an ASGI application); the first that matches the whole path serves it.
SOCKETS: list[tuple[str, str]] = [
    (r"/session/[^/]+/?", "apps.conversations.live.session_socket"),
    (r"/api/v1(?:/projects/[^/]+)?/ws", "apps.events.live.feed_socket"),
    (r"/admin/watch/[^/]+/?", "apps.console.live.watch_socket"),
]
STREAMS: list[tuple[str, str, str]] = [
    ("POST", r"/v1/chat/completions", "apps.conversations.api.openai.completions_app"),
    ("GET", r"/api/v1(?:/projects/[^/]+)?/events", "apps.events.live.event_feed"),
    ("GET", r"/rpc/formations/[^/]+/logs/stream", "apps.formations.live.log_stream"),
]
# What looks at a request before Django does: called with the bridge as a fourth argument.
DOORS: list[tuple[str, str, str]] = [
    ("POST", r"/rpc/formations", "apps.formations.live.deploy_door"),
    ("PUT", r"/rpc/formations/[^/]+", "apps.formations.live.update_door"),
    ("GET", r"/rpc/formations/[^/]+/logs", "apps.formations.live.log_door"),
]
# Served by both: a trigger is fired on the loop and read on a thread.
SHARED_PATH = r"/v1/triggers/[^/]+"
# The same for what follows a formation's address; each stands in `urls/muxi_formation.py`, too. On the
# main port they serve keys of workspaces that are nobody's home.
FORMATION_STREAMS: list[tuple[str, str, str]] = [
    ("POST", r"/v1/chat", "apps.conversations.api.muxi_formation_chat.chat_app"),
    ("POST", r"/v1/audiochat", "apps.conversations.api.muxi_formation_chat.audio_chat_app"),
    ("POST", SHARED_PATH, "apps.conversations.api.muxi_formation_chat.trigger_app"),
    ("GET", r"/v1/events", "apps.conversations.api.muxi_formation_streams.user_events"),
    ("GET", r"/v1/events/[^/]+", "apps.conversations.api.muxi_formation_streams.session_events"),
    (
        "GET",
        r"/v1/events/[^/]+/[^/]+",
        "apps.conversations.api.muxi_formation_streams.request_events",
    ),
    ("GET", r"/v1/logs", "apps.conversations.api.muxi_formation_streams.logs"),
]
HEALTH = {"/health": "polymux.health.asgi_health", "/livez": "polymux.health.asgi_health"}


class Router:
    """The ASGI application."""

    def __init__(
        self,
        sockets: list[tuple[str, str]],
        streams: list[tuple[str, str, str]],
        inside: list[tuple[str, str, str]] = FORMATION_STREAMS,
    ) -> None:
        self._sockets = [(re.compile(path), name) for path, name in sockets]
        self._inside = [(method, re.compile(path), name) for method, path, name in inside]
        self._streams = [(method, re.compile(path), name) for method, path, name in streams]
        self._streams += self._inside
        self._doors = [(method, re.compile(path), name) for method, path, name in DOORS]
        self._apps: dict[str, Any] = {}
        self._bridge = ThreadBridge(_django)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
            return
        if self._loop is None or self._loop.is_closed():
            self._start()  # a server without lifespan
        if kind == "http":
            if "formation" not in scope and (way := addresses.way_of(scope)) is not None:
                await self._enter(way, scope, receive, send)
            else:
                await self._find(scope)(scope, receive, send)
        elif kind == "websocket":
            await self._socket(scope)(scope, receive, send)

    async def _enter(self, way: addresses.Way, scope: Scope, receive: Receive, send: Send) -> None:
        """A request to a formation at its address on this port."""
        try:
            inner = await addresses.inside(scope, way)
        except addresses.NoWay as refusal:
            await addresses.refuse(send, refusal.status, refusal.message)
        except Exception as error:  # noqa: BLE001  (no database, no room: nobody answers)
            known = domain_error(error)
            log.warning("%s was not found: %s", scope["path"], known.code)
            await addresses.refuse(send, 502, "The formation does not answer.")
        else:
            await self._find(inner)(inner, receive, send)

    def _find(self, scope: Scope) -> Any:
        path, method = scope["path"], scope["method"]
        within = "formation" in scope
        if path in HEALTH and not within:
            return self._load(HEALTH[path])
        streams = self._inside if within else self._streams
        fits = [(verb, name) for verb, pattern, name in streams if pattern.fullmatch(path)]
        ours = fits and not re.fullmatch(SHARED_PATH, path)
        for verb, name in fits:
            if verb == method:
                return self._load(name)
        # A preflight is Django's: its CORS middleware answers for every path.
        if ours and method != "OPTIONS":
            return _wrong_method
        return self._bridge if within else self._door(path, method)

    def _door(self, path: str, method: str) -> Any:
        """Django, behind the door of this route if it has one."""
        for verb, pattern, name in self._doors:
            if verb == method and pattern.fullmatch(path):
                return partial(self._load(name), django=self._bridge)
        return self._bridge

    def _socket(self, scope: Scope) -> Any:
        if "formation" in scope:
            return _no_such_socket  # a formation has none
        for pattern, name in self._sockets:
            if pattern.fullmatch(scope["path"]):
                return self._load(name)
        return _no_such_socket

    def _load(self, dotted: str) -> Any:
        """The application of that name. One that cannot be imported fails its own requests, loudly."""
        app = self._apps.get(dotted)
        if app is None:
            module, _, name = dotted.rpartition(".")
            app = self._apps[dotted] = getattr(importlib.import_module(module), name)
        return app

    # --- Life ----------------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start()
                _before_shutdown(self._loop, self.begin_shutdown)
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _start(self) -> None:
        from apps.events.hub import hub

        self._loop = asyncio.get_running_loop()
        self._stopped = False
        aio.adopt_loop(self._loop)
        hub().start()

    async def begin_shutdown(self) -> None:
        """Close every live stream with 1001, so that clients come back elsewhere, at once."""
        from apps.events.hub import hub

        if not self._stopped:
            self._stopped = True
            await hub().stop(1001)

    async def _stop(self) -> None:
        await self.begin_shutdown()
        await _drain_runs()
        await _hang_up()
        self._bridge.close()
        self._loop = None
        aio.adopt_loop(None)


async def _drain_runs() -> None:
    """Let the turns of this process reach their next resting place (their leases do the rest)."""
    from apps.runs.runner import drain

    try:
        await drain()
    except Exception:
        log.exception("draining runs failed; their leases will expire")


async def _hang_up() -> None:
    """Close what turns leave open for the next one: connections to providers and MCP servers."""
    from apps.engine.providers.openai_compatible import close_transport
    from apps.formations import mcp

    for close in (close_transport, mcp.close_all):
        try:
            await close()
        except Exception:
            log.exception("%s failed at shutdown", close.__name__)


async def _wrong_method(scope: Scope, _receive: Receive, send: Send) -> None:
    """A streaming route asked with another method: 405 in its surface's words."""
    from apps.core.errors import MethodNotAllowed
    from apps.events.http import send_reply
    from apps.surfaces import kit, prefixes

    seen = kit.from_scope(scope)
    await send_reply(send, prefixes.surface_for(seen).answer(MethodNotAllowed(), seen))


def _before_shutdown(loop: asyncio.AbstractEventLoop | None, begin: Any) -> None:
    """Have `begin()` run the moment the process is told to stop.

    Lifespan's own shutdown comes too late: servers first wait for open responses, and live streams
    never end by themselves.
    """
    if loop is None or threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if not callable(before):
            continue

        def stop(signum: int, frame: Any, before: Any = before) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: loop.create_task(begin()))
            before(signum, frame)

        signal.signal(number, stop)


async def _no_such_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 4404})
        return
    body = b'{"error":"There is no such socket.","code":"not_found"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


application = Router(SOCKETS, STREAMS)
