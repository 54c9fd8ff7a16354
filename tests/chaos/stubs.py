"""What stands outside the installation and outlives its processes: the model, and the tool that counts.

The model is told by its prompt which effect to make (`effect=…` in the task's description), calls the
tool with it once, and is done when it sees the tool's answer. So a run that is resumed anywhere goes on
at the right place, and a run that begins anew makes its effect a second time under another key.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn

from tests.support.stub_provider import StubProvider
from tests.support.stub_replies import Reply

KEY = "polymux/idempotency-key"
EFFECT = re.compile(r"effect=([\w.-]+)(?: for=([\d.]+))?")
SLOWNESS = 1.0  # seconds between an effect and its answer: many a caller dies in between
NEW_ENOUGH = "2025-06-18"
COUNT = {
    "name": "count",
    "description": "Count an effect.",
    "inputSchema": {
        "type": "object",
        "properties": {"effect": {"type": "string"}},
        "required": ["effect"],
    },
}


class Model(StubProvider):
    """Calls the sink with the effect that the prompt names, then says that it is done.

    `for=2.5` beside the effect: its last words take so many seconds.
    """

    def next_reply(self, body: dict[str, Any]) -> Reply:
        messages = body["messages"]
        prompt = next(message["content"] for message in messages if message["role"] == "user")
        effect, seconds = EFFECT.findall(prompt)[-1]
        if not any(message["role"] == "tool" for message in messages):
            return Reply(calls=(("sink__count", {"effect": effect}),))
        if not seconds:
            return Reply(f"Did {effect}.")
        return Reply(("tick ",) * round(float(seconds) * 5), rate=5.0)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the tool as it arrived."""

    key: str
    effect: str
    at: float


@dataclass
class Sink:
    """An MCP server over streamable HTTP with the one tool `count`; it keeps every call it was sent."""

    calls: list[Call] = field(default_factory=list)

    def start(self) -> str:
        """Serve in a thread; the URL."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            log_level="error",
            access_log=False,
            timeout_keep_alive=600,  # else it hangs up while a call is on its way
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    def __enter__(self) -> Self:
        self.url = self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while scope["type"] == "http":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] != "POST":
            await _answer(send, 405)
            return
        asked = json.loads(body)
        if "id" not in asked:
            await _answer(send, 202)
            return
        said = self._said(asked)
        if asked["method"] == "tools/call":
            await asyncio.sleep(SLOWNESS)
        await _answer(send, 200, {"jsonrpc": "2.0", "id": asked["id"], **said})

    def _said(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked["method"]:
            case "initialize":
                told = {"protocolVersion": NEW_ENOUGH, "capabilities": {"tools": {}}}
                return {"result": told | {"serverInfo": {"name": "sink", "version": "1"}}}
            case "tools/list":
                return {"result": {"tools": [COUNT]}}
            case "tools/call":
                return {"result": {"content": [{"type": "text", "text": self._count(asked)}]}}
            case "ping":
                return {"result": {}}
        return {"error": {"code": -32601, "message": "unknown method"}}

    def _count(self, asked: dict[str, Any]) -> str:
        told = asked["params"]
        effect = told["arguments"]["effect"]
        self.calls.append(Call(told.get("_meta", {}).get(KEY, ""), effect, time.monotonic()))
        return f"counted {effect}"


async def _answer(send: Any, status: int, body: Any = None) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
