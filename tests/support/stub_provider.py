"""A fast OpenAI-compatible provider on raw asyncio, for tests and benchmarks.

    stub = StubProvider()
    base_url = stub.start()                       # http://127.0.0.1:PORT/v1, in its own thread
    stub.script("gpt-x", Reply("Hello there"))    # every request for gpt-x gets this
    stub.queue(Reply(status=429, retry_after=1))  # the next request, whatever its model, gets this
    stub.requests[-1].body, stub.requests[-1].wait_disconnected(2)
    stub.stop()

Order: the queue, then the script of the model, then the model's name itself, so that the command
line (`python -m tests.support.stub_provider --port N`) needs no script:

    tokens-1000          1000 tokens as fast as they are read
    tokens-1000@50       1000 tokens, 50 a second, one write each
    echo                 repeats the last message
    tool-NAME            calls tool NAME once with {}, then answers "done"
    status-503           that status
    hang, broken, die, html, huge, stall
    anything else        "Hello from the stub."
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self, cast

from tests.support import stub_replies as replies
from tests.support.stub_replies import Reply, reply_for

__all__ = ["Recorded", "Reply", "StubProvider", "reply_for"]

BURST = 32  # chunks in one write when a reply has no rate


@dataclass
class Recorded:
    """One request. `sent`: chunks of text sent so far."""

    path: str
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)
    sent: int = 0
    done: bool = False
    gone: threading.Event = field(default_factory=threading.Event)
    gone_at: float = 0.0

    @property
    def disconnected(self) -> bool:
        """The client went away before the reply was whole."""
        return self.gone.is_set()

    def wait_disconnected(self, timeout: float = 5.0) -> bool:
        return self.gone.wait(timeout)


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, stub: StubProvider) -> None:
        self.stub = stub
        self.buffer = bytearray()
        self.transport: asyncio.Transport
        self.current: Recorded | None = None
        self.timer: asyncio.Handle | None = None
        self.queue: list[bytes] = []
        self.position = 0
        self.tail: tuple[bytes, bool] = (b"", False)
        self.rate: float | None = None
        self.started = 0.0
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.stub.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stub.connections.discard(self)
        if self.timer:
            self.timer.cancel()
        if self.current and not self.current.done:
            self.current.gone_at = time.monotonic()
            self.current.gone.set()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.current and not self.current.done and self.rate is None and self.queue:
            self._pump()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + length:
            return
        raw = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        is_json = "json" in headers.get("content-type", "json")
        body = (json.loads(raw) if raw else {}) if is_json else raw
        self._answer(lines[0].split(" ")[1], headers, body)

    def _answer(self, path: str, headers: dict[str, str], body: Any) -> None:
        self.current = Recorded(path, headers, body)
        self.stub.requests.append(self.current)
        if self.stub.api_key and headers.get("authorization") != f"Bearer {self.stub.api_key}":
            shown = headers.get("authorization", "")
            return self._json(401, {"error": {"message": f"Incorrect API key provided: {shown}"}})
        if path.endswith("/models"):
            data = [{"id": name, "object": "model"} for name in self.stub.models]
            return self._json(200, {"object": "list", "data": data})
        if path.endswith("/api/tags"):
            return self._json(200, {"models": [{"name": name} for name in self.stub.models]})
        if path.endswith("/embeddings"):
            return self._json(200, replies.embeddings(body))
        if path.endswith("/audio/transcriptions"):
            return self._json(200, {"text": self.stub.transcript})
        if not path.endswith("/chat/completions"):
            return self._json(404, {"error": {"message": "no such path"}})
        reply = self.stub.next_reply(body)
        if reply.hang:
            return None
        if reply.delay:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(reply.delay, self._reply, reply, body)
            return None
        return self._reply(reply, body)

    def _json(self, status: int, data: Any, extra: str = "") -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        if self.current:
            self.current.done = True
        self.transport.write(head.encode() + body)

    def _reply(self, reply: Reply, body: dict[str, Any]) -> None:
        if reply.status != 200:
            extra = "" if reply.retry_after is None else f"Retry-After: {reply.retry_after}\r\n"
            message = reply.error or f"stub says {reply.status}"
            return self._json(reply.status, {"error": {"message": message}}, extra)
        if reply.raw is None and not body.get("stream"):
            return self._json(200, replies.completion(reply, body))
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {reply.content_type}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        if reply.raw is not None:
            assert self.current
            self.current.done = True
            self.transport.write(head + replies.chunk(reply.raw) + b"0\r\n\r\n")
            return None
        self.transport.write(head)
        self._start(reply, body)
        return None

    def _start(self, reply: Reply, body: dict[str, Any]) -> None:
        model = str(body.get("model"))
        cache: dict[str, bytes] = {}
        chunks = []
        for piece in reply.pieces():
            event = cache.get(piece)
            if event is None:
                event = cache[piece] = replies.event(model, {"content": piece})
            chunks.append(event)
        self.queue, ending = replies.fault_chunks(reply, chunks)
        tail = b""
        if ending == "end":
            reason = reply.reason or ("tool_calls" if reply.calls else "stop")
            events = [*replies.call_events(model, reply.calls), replies.event(model, {}, reason)]
            if reply.with_usage and (body.get("stream_options") or {}).get("include_usage"):
                data = {"choices": [], "usage": replies.usage(reply, body), "model": model}
                events.append(replies.chunk(b"data: " + json.dumps(data).encode() + b"\n\n"))
            tail = b"".join(events) + replies.chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        elif ending == "cut":
            tail = b"0\r\n\r\n"
        self.position, self.rate = 0, reply.rate
        self.tail = (tail, ending == "die")
        self.started = asyncio.get_running_loop().time()
        if ending == "stall":
            self.tail = (b"", False)
            self.queue.append(b"")
        if self.rate:
            self._tick(ending)
        else:
            self._pump(ending)

    def _pump(self, ending: str = "") -> None:
        """Write as fast as the client reads."""
        ending = ending or ("die" if self.tail[1] else "")
        while not self.paused:
            part = self.queue[self.position : self.position + BURST]
            if not part:
                return self._finish()
            self.position += len(part)
            assert self.current
            self.current.sent = self.position
            self.transport.write(b"".join(part))
            if part[-1] == b"":
                return None
        return None

    def _tick(self, ending: str = "") -> None:
        """Write the chunks that are due, one write each."""
        loop = asyncio.get_running_loop()
        assert self.rate
        assert self.current
        due = int((loop.time() - self.started) * self.rate) + 1
        while self.position < min(due, len(self.queue)):
            part = self.queue[self.position]
            self.position += 1
            self.current.sent = self.position
            if part == b"":
                return None
            self.transport.write(part)
        if self.position >= len(self.queue):
            return self._finish()
        self.timer = loop.call_at(self.started + self.position / self.rate, self._tick)
        return None

    def _finish(self) -> None:
        tail, die = self.tail
        assert self.current
        self.current.done = True
        self.queue = []
        if die:
            self.transport.close()
        else:
            self.transport.write(tail)


class StubProvider:
    """The server. Everything on it may be called from any thread."""

    def __init__(self, *, api_key: str = "", models: tuple[str, ...] = ("stub",)) -> None:
        self.api_key, self.models = api_key, models
        self.transcript = "Hello by voice."
        self.requests: deque[Recorded] = deque(maxlen=10_000)
        self.connections: set[_Connection] = set()
        self.base_url = ""
        self._queue: deque[Reply] = deque()
        self._scripts: dict[str, deque[Reply]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def script(self, model: str, *replies: Reply) -> StubProvider:
        """Answer requests for `model` with these in order; the last one stays."""
        self._scripts[model] = deque(replies)
        return self

    def queue(self, *replies: Reply) -> StubProvider:
        """Answer the next requests with these, whatever their model."""
        self._queue.extend(replies)
        return self

    def reset(self) -> None:
        """Forget scripts and requests: what one test taught, the next must not meet."""
        self._queue.clear()
        self._scripts.clear()
        self.requests.clear()

    def next_reply(self, body: dict[str, Any]) -> Reply:
        model = str(body.get("model"))
        if self._queue:
            return self._queue.popleft()
        if script := self._scripts.get(model):
            return script.popleft() if len(script) > 1 else script[0]
        return reply_for(model, body)

    def start(self, port: int = 0) -> str:
        """Serve in a thread; returns the base URL ending in `/v1`."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(port, ready), name="stub-provider", daemon=True
        )
        self._thread.start()
        if not ready.wait(10) or not self.base_url:
            raise RuntimeError("the stub provider did not start")
        return self.base_url

    def _run(self, port: int, ready: threading.Event) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(self.listen(port))
        finally:
            ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for connection in list(self.connections):
                connection.transport.abort()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    async def listen(self, port: int = 0) -> asyncio.Server:
        """Listen on the running loop (for a process of its own)."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", port, backlog=1024
        )
        port = server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return server

    def wait_requests(self, count: int, timeout: float = 5.0) -> list[Recorded]:
        """The requests so far, once there are `count` of them; AssertionError when they do not come."""
        deadline = time.monotonic() + timeout
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests came"
            time.sleep(0.005)
        return list(self.requests)

    def drop_connections(self) -> None:
        """Reset every open connection, as a provider's crash would."""
        assert self._loop
        self._loop.call_soon_threadsafe(
            lambda: [connection.transport.abort() for connection in list(self.connections)]
        )

    def stop(self) -> None:
        if self._loop and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stub OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--api-key", default="")
    options = parser.parse_args()

    async def serve() -> None:
        stub = StubProvider(api_key=options.api_key)
        server = await stub.listen(options.port)
        print(stub.base_url, flush=True)
        await server.serve_forever()

    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
