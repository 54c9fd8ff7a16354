"""`/mcp` on a formation: a streamable-HTTP MCP server whose tools are the client routes (contract §5.9).

TLDR: the SDK speaks the protocol, without sessions; a call becomes one request to the formation's own
route with the caller's key and user, through the very application that serves it from outside. So a tool
may do what its key may, and answers what the route answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import mcp_types as types
from django.conf import settings
from django.urls import Resolver404, resolve
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from apps.core.aio import db_call
from apps.core.errors import MethodNotAllowed
from apps.events.http import send_reply
from apps.surfaces import kit, muxi_formation
from apps.surfaces.fallback import unknown_route
from polymux.gateway.tool_table import TOOLS, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.events.http import Receive, Scope, Send

log = logging.getLogger(__name__)

LONGEST_ANSWER = 1024 * 1024  # bytes of a tool's answer
PASSED_ON = frozenset({b"x-muxi-client-key", b"x-muxi-user-id", b"host", b"x-formation-id"})


class ToolServer:
    """The ASGI application; one for all formations. The scope says which is asked."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._manager: StreamableHTTPSessionManager | None = None
        self._live: asyncio.Task[None] | None = None
        self._ready: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = kit.from_scope(scope)
        admission = kit.Admission(muxi_formation.SURFACE, seen)
        try:
            if scope["method"] != "POST":  # no sessions: nothing to listen to, nothing to end
                raise MethodNotAllowed
            await db_call(admission.admit, workspace=_home, realm=muxi_formation.CLIENT)
        except Exception as error:  # noqa: BLE001  (answered, and logged by the surface)
            await send_reply(send, admission.answer(error))
            return
        manager = await self._started()
        await manager.handle_request(scope, receive, send)

    async def _started(self) -> StreamableHTTPSessionManager:
        """This loop's session manager, living in a task of its own until the loop ends."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._live is None or self._live.done():
            self._loop, self._ready = loop, asyncio.Event()
            self._manager = StreamableHTTPSessionManager(
                _protocol(),
                json_response=True,
                stateless=True,
                max_request_body_size=settings.MAX_BODY_BYTES,
            )
            self._live = loop.create_task(self._run(self._manager, self._ready), name="mcp server")
        assert self._ready is not None
        assert self._manager is not None
        await self._ready.wait()
        return self._manager

    async def _run(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        async with manager.run():
            ready.set()
            await asyncio.Event().wait()


def _home(_caller: Any) -> str:
    """Where the caller acts: the surface enters the home of the formation that was asked."""
    return ""


def _protocol() -> Server[Any]:
    return Server(
        "polymux-formation",
        version=settings.VERSION,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


@cache
def offered() -> tuple[types.Tool, ...]:
    """The tools whose routes there are, as the protocol describes them."""
    return tuple(
        types.Tool(name=tool.name, description=tool.description, input_schema=tool.input_schema)
        for tool in TOOLS
        if is_routed(tool)
    )


def is_routed(tool: Tool) -> bool:
    """Whether somebody answers the tool's path."""
    try:
        found = resolve(tool.path.replace("{", "").replace("}", ""), settings.FORMATION_URLCONF)
    except Resolver404:
        return False
    return found.func is not unknown_route


async def _list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=list(offered()))


async def _call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = next((one for one in TOOLS if one.name == params.name and is_routed(one)), None)
    arguments = dict(params.arguments or {})
    if tool is None:
        return _refused(f"There is no tool {params.name[:100]!r}.")
    known = tool.input_schema["properties"]
    if unknown := sorted(set(arguments) - known.keys()):
        return _refused(f"{tool.name} takes no argument {unknown[0][:100]!r}.")
    missing = [name for name in tool.input_schema["required"] if arguments.get(name) in (None, "")]
    if missing:
        return _refused(f"{tool.name} needs the argument {missing[0]!r}.")
    status, body = await _asked(context.request.scope, tool, arguments)
    return _result(status, body)


def _refused(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)], is_error=True)


def _result(status: int, body: bytes) -> types.CallToolResult:
    """The route's answer: its `data` as the structure, its error's words as the text."""
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status >= 400:
        error = answer.get("error") or {}
        return _refused(f"{error.get('code', status)}: {error.get('message', text[:500])}")
    data = answer.get("data")
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(data) if data else text)],
        structured_content=data if isinstance(data, dict) else None,
    )


async def _asked(outer: Scope, tool: Tool, arguments: dict[str, Any]) -> tuple[int, bytes]:
    """One request to the formation's own route; (status, body). ValueError when it is too long."""
    from polymux.asgi import application

    scope, body = _request(outer, tool, arguments)
    parts = [{"type": "http.request", "body": body, "more_body": False}]
    gone = asyncio.Event()
    status, chunks, size = 500, [], 0

    async def receive() -> Any:
        if parts:
            return parts.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, size
        if message["type"] == "http.response.start":
            status = message["status"]
            return
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > LONGEST_ANSWER:
            raise ValueError("the answer is too long for a tool")
        chunks.append(chunk)

    await application(scope, receive, send)
    gone.set()
    return status, b"".join(chunks)


def _request(outer: Scope, tool: Tool, arguments: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The scope of the inner request, and its body."""
    user = str(arguments.pop("user_id", "") or "")
    headers = [(name, value) for name, value in outer["headers"] if name in PASSED_ON]
    if user and all(name != b"x-muxi-user-id" for name, _ in headers):
        headers.append((b"x-muxi-user-id", user.encode("latin-1", "replace")))
    body = b""
    if tool.method in {"POST", "PUT"}:
        said = {name: arguments[name] for name in tool.body if name in arguments}
        body = json.dumps({**said, **tool.fixed}).encode()
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))
    path, raw = _filled(tool, arguments)
    query = {name: _said(arguments[name]) for name in tool.query if name in arguments}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": tool.method,
        "scheme": outer.get("scheme", "http"),
        "path": path,
        "raw_path": raw,
        "query_string": urlencode(query).encode(),
        "headers": headers,
        "client": outer.get("client"),
        "server": outer.get("server"),
        "formation": outer["formation"],
    }
    return scope, body


def _said(value: Any) -> str:
    """An argument as a query says it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filled(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, bytes]:
    """The path with its ids, decoded and as it is sent. An id with a slash names nothing."""
    path = raw = tool.path
    for name in tool.in_path:
        value = str(arguments[name])
        path = path.replace("{" + name + "}", value.replace("/", "\N{FRACTION SLASH}"))
        raw = raw.replace("{" + name + "}", quote(value, safe=""))
    return path, raw.encode()


app = ToolServer()
