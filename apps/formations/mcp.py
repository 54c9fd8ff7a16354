"""Connections to MCP servers: pooled per server in this process's home loop, closed when idle.

TLDR: `offered(server)` connects when needed and lists the tools; `call(...)` calls one. A server that
takes what users bring has a connection for each of them (`mcp_users`). Every failure is `McpFailed` with words for the model; the row of the server says what the last contact said. A tool
whose definition changed since it was first seen is not offered until a human accepts it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from apps.core.actor import Actor
from apps.core.aio import db_call, home_loop, spawn
from apps.core.errors import DomainError
from apps.formations import mcp_users, means
from apps.formations.limits import tool_memory
from apps.formations.mcp_tools import Listed, answer_text, pin, readable
from apps.formations.mcp_users import SHARED
from apps.formations.models import McpServer, McpTransport
from apps.formations.placing import placed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from uuid import UUID

    from apps.formations.policy import Server

log = logging.getLogger(__name__)
T = TypeVar("T")
Place = tuple["UUID", "UUID", str]  # workspace, server, and whose connection it is

CONNECT_TIMEOUT = 10.0  # seconds, for the handshake and the first list
CALL_TIMEOUT = 60.0
IDLE = 300.0  # a connection nobody used for so long is closed
RELIST = 300.0  # how old a list of tools may be
REST = 30.0  # after a failure: how long not to try again
MOST_CONNECTIONS = 200  # in one process
MOST_TOOLS = 64  # of one server
MOST_PAGES = 10


class McpFailed(Exception):
    """The server did not do it; the text may be shown to the model and in the console."""


@dataclass(eq=False)
class Connection:
    """One live server. Its task owns the SDK's scopes from entering to leaving."""

    workspace_id: UUID
    server: Server
    end_user: str = SHARED
    brought: dict[str, str] | None = None
    client: Any = None
    listed: tuple[Listed, ...] = ()
    listed_at: float = 0.0
    used_at: float = field(default_factory=time.monotonic)
    calls: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    task: asyncio.Task[None] | None = None
    lost: bool = False
    why: str = ""

    @property
    def place(self) -> Place:
        return (self.workspace_id, self.server.id, self.end_user)

    @property
    def usable(self) -> bool:
        return not (self.lost or self.stop.is_set() or self.task is None or self.task.done())

    def give_up(self, why: str = "") -> None:
        """The other side is gone: no new call comes here, and the task winds the rest up."""
        self.lost = True
        self.why = self.why or why
        self.stop.set()


_pool: dict[Place, Connection] = {}
_resting: dict[Place, tuple[float, Any, str]] = {}


async def offered(
    workspace_id: UUID, server: Server, *, end_user: str = SHARED
) -> tuple[Listed, ...]:
    """The tools a server offers now, connecting if need be. Raises McpFailed.

    `end_user`: the user of a formation whose turn asks.
    """
    return await _at_home(_offered(workspace_id, server, end_user))


async def call(
    workspace_id: UUID,
    server: Server,
    tool: str,
    arguments: dict[str, Any],
    *,
    seconds: float = CALL_TIMEOUT,
    key: str = "",
    end_user: str = SHARED,
) -> str:
    """Call a tool the server offers; its answer as text. Raises McpFailed, also for its own errors."""
    work = _call(workspace_id, server, tool, arguments, seconds=seconds, key=key, end_user=end_user)
    return await _at_home(work)


async def close_all() -> None:
    """Close every connection and end every child process: at shutdown. Bounded to 5 seconds."""
    await _at_home(_close_all())


async def _at_home(work: Coroutine[Any, Any, T]) -> T:
    """Connections live in the home loop; from any other loop the work is sent there."""
    if asyncio.get_running_loop() is home_loop():
        return await work
    return await asyncio.wrap_future(spawn(work))


async def _offered(workspace_id: UUID, server: Server, end_user: str) -> tuple[Listed, ...]:
    connection = await _connected(workspace_id, server, end_user)
    if time.monotonic() - connection.listed_at > RELIST:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await _list_tools(connection)
    return connection.listed


async def _call(
    workspace_id: UUID,
    server: Server,
    tool: str,
    arguments: dict[str, Any],
    *,
    seconds: float,
    key: str,
    end_user: str,
) -> str:
    connection = await _connected(workspace_id, server, end_user)
    if all(known.name != tool for known in connection.listed):
        raise McpFailed(f"The server {server.name} no longer offers this tool.")
    connection.calls += 1
    try:
        async with asyncio.timeout(seconds):
            result = await connection.client.call_tool(
                tool, arguments, meta={"polymux/idempotency-key": key} if key else None
            )
    except TimeoutError:
        raise McpFailed(f"The tool did not answer within {seconds:g} seconds.") from None
    except Exception as error:
        raise await _told(connection, error) from error
    finally:
        connection.calls -= 1
        connection.used_at = time.monotonic()
    text = answer_text(result)
    if result.is_error:
        raise McpFailed(text or "The tool failed.")
    return text


async def _connected(workspace_id: UUID, server: Server, end_user: str) -> Connection:
    brought = await _brought(workspace_id, server, end_user)
    wanted = Connection(workspace_id, server, SHARED if brought is None else end_user, brought)
    connection = _pool.get(wanted.place)
    if connection is not None and _mark(connection) != _mark(wanted):
        connection.stop.set()  # configured anew: calls in flight fail, the next one reconnects
        connection = None
    if connection is None or not connection.usable:
        _refuse_while_resting(wanted)
        if len(_pool) >= MOST_CONNECTIONS:
            raise McpFailed("Too many MCP servers are connected at this time.")
        connection = _pool[wanted.place] = wanted
        connection.task = asyncio.create_task(_live(connection), name=f"mcp {server.name}")
    connection.used_at = time.monotonic()
    await asyncio.shield(connection.ready)
    return connection


async def _brought(workspace_id: UUID, server: Server, end_user: str) -> dict[str, str] | None:
    """What the user of this turn proves themselves with; None where the server asks for nothing."""
    if end_user == SHARED:
        return None
    try:
        return await db_call(mcp_users.brought, workspace_id, server.name, end_user)
    except mcp_users.NotBrought as missing:
        raise McpFailed(str(missing)) from None


def _mark(connection: Connection) -> tuple[Any, Any]:
    """What a connection was made with: another one is made where that differs."""
    return connection.server.version, connection.brought


def _refuse_while_resting(wanted: Connection) -> None:
    until, mark, words = _resting.get(wanted.place, (0.0, None, ""))
    if mark == _mark(wanted) and time.monotonic() < until:
        raise McpFailed(words)
    _resting.pop(wanted.place, None)


async def _live(connection: Connection) -> None:
    """Connect, say so, and keep the connection until it is stopped, lost or idle."""
    place = connection.place
    try:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection.client = await _entered(stack, connection)
                    await _list_tools(connection)
            except Exception as error:
                raise McpFailed(_words(connection.server, error)) from error
            if not connection.ready.done():
                connection.ready.set_result(None)
            await _until_idle(connection)
    except McpFailed as failure:
        await _failed(connection, str(failure))
    except Exception:
        # What the SDK raises on the way out of a connection that broke.
        log.warning("the connection to MCP server %s broke", connection.server.name, exc_info=True)
    finally:
        connection.lost = True
        if _pool.get(place) is connection:
            del _pool[place]
        if not connection.ready.done():
            connection.ready.set_exception(McpFailed("The connection was closed."))
        connection.ready.exception()  # looked at: nobody may be waiting


async def _until_idle(connection: Connection) -> None:
    while not connection.stop.is_set():
        left = connection.used_at + IDLE - time.monotonic()
        if left <= 0 and connection.calls == 0:
            return
        try:
            async with asyncio.timeout(max(left, 1.0)):
                await connection.stop.wait()
        except TimeoutError:
            continue


async def _entered(stack: AsyncExitStack, connection: Connection) -> Any:
    """The SDK's client for this server, connected. The SDK is imported here, on first use."""
    from mcp import Client

    server, sealed, memory = await db_call(
        _configuration, connection.workspace_id, connection.server.id
    )
    secrets = sealed | (connection.brought or {})
    if server.transport == McpTransport.STDIO:
        from apps.formations.mcp_stdio import child_process

        command = await asyncio.to_thread(placed, server.command)
        transport: Any = child_process(
            command, secrets, str(server.id), connection.give_up, memory=memory
        )
    else:
        from mcp.client.streamable_http import streamable_http_client

        from apps.core import net
        from apps.formations.mcp_http import guarded_client

        await net.check_url(server.url)  # here too: its words are better than the SDK's
        web = await stack.enter_async_context(guarded_client(secrets))
        transport = streamable_http_client(server.url, http_client=web)
    return await stack.enter_async_context(Client(transport, cache=None))


def _configuration(workspace_id: UUID, server_id: UUID) -> tuple[McpServer, dict[str, str], int]:
    """The row, its secrets, and the memory a process of it may take."""
    server = McpServer.objects.in_workspace(workspace_id).filter(id=server_id, enabled=True).first()
    if server is None:
        raise McpFailed("The server was removed.")
    return server, means.opened_secrets(server), tool_memory(workspace_id)


async def _list_tools(connection: Connection) -> None:
    """Ask for the tools, compare them with what is pinned, and write down what was found."""
    found: list[Listed] = []
    cursor = None
    for _ in range(MOST_PAGES):
        page = await connection.client.list_tools(cursor=cursor)
        found += [tool for raw in page.tools if (tool := readable(raw)) is not None]
        cursor = page.next_cursor
        if not cursor or len(found) >= MOST_TOOLS:
            break
    found = found[:MOST_TOOLS]
    usable = await db_call(_pin, connection.workspace_id, connection.server.id, found)
    connection.listed, connection.listed_at = usable, time.monotonic()


def _pin(workspace_id: UUID, server_id: UUID, found: list[Listed]) -> tuple[Listed, ...]:
    server = McpServer.objects.in_workspace(workspace_id).filter(id=server_id).only("tools").first()
    if server is None:
        raise McpFailed("The server was removed.")
    usable, kept, changed = pin(server.tools, found)
    error = f"Changed since they were accepted: {', '.join(changed)}" if changed else ""
    means.record_contact(
        Actor.for_system(workspace_id),
        server_id,
        status="changed" if changed else "ready",
        error=error,
        tools=kept,
    )
    return usable


async def _told(connection: Connection, error: Exception) -> McpFailed:
    """What to say about a failed call; a broken connection is given up and reported."""
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    if isinstance(error, MCPError) and error.code != CONNECTION_CLOSED:
        return McpFailed(f"The server refused: {error.message[:500]}")
    words = (
        f"The server {connection.server.name} broke off the connection. {connection.why}".strip()
    )
    connection.give_up()
    await _report(connection, words)
    return McpFailed(words)


async def _failed(connection: Connection, words: str) -> None:
    if len(_resting) > MOST_CONNECTIONS * 10:
        _resting.clear()
    _resting[connection.place] = (time.monotonic() + REST, _mark(connection), words)
    await _report(connection, words)
    if not connection.ready.done():
        connection.ready.set_exception(McpFailed(words))


async def _report(connection: Connection, words: str) -> None:
    """For all to see; not where it may be one user's credential that failed."""
    if connection.brought is not None:
        return
    actor = Actor.for_system(connection.workspace_id)
    try:
        await db_call(
            means.record_contact, actor, connection.server.id, status="failed", error=words
        )
    except Exception:
        log.exception("could not report MCP server %s", connection.server.name)


def _words(server: Server, error: BaseException) -> str:
    """Why a connection failed, without echoing what the other side sent."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, (McpFailed, DomainError)):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"The server {server.name} did not answer within {CONNECT_TIMEOUT:g} seconds."
    log.warning("MCP server %s failed: %s", server.name, type(error).__name__)
    log.debug("how MCP server %s failed", server.name, exc_info=error)
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"The server {server.name} could not be reached ({reason})."


async def _close_all() -> None:
    tasks = []
    for connection in list(_pool.values()):
        connection.stop.set()
        if connection.task is not None:
            tasks.append(connection.task)
    _resting.clear()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=5)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1)
