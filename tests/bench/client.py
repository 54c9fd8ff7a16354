"""A client that costs little: raw protocols on one loop, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import time
from typing import Any

END_OF_CHUNKS = b"0\r\n\r\n"
EVENT_ID = re.compile(rb"(?:^|\n)id: (\d+)\n")
TOKEN = re.compile(rb'"content": ?"[^"]')  # not the empty text beside the role


class Http(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection; one request at a time."""

    def __init__(self, host: str, token: str) -> None:
        self._fixed = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n".encode()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._times: list[float] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("closed by the server"))

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """(status, body) of an answer with a length, or of a whole chunked one, chunk marks and all."""
        assert self._transport
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\n".encode()
        size = f"Content-Length: {len(content)}\r\n\r\n".encode()
        self._buffer.clear()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(head + self._fixed + size + content)
        return await self._waiter

    async def stream(self, path: str, body: Any) -> list[float]:
        """Moments (seconds) at which each piece of text arrived."""
        self._times = []
        try:
            status, answer = await self.ask("POST", path, body)
            if status != 200:
                raise RuntimeError(f"{status}: {answer[:300]!r}")
            return self._times
        finally:
            self._times = None

    def data_received(self, data: bytes) -> None:
        if self._times is not None:
            moment = time.perf_counter()
            self._times.extend([moment] * len(TOKEN.findall(data)))
        self._buffer += data
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._waiter is None or self._waiter.done():
            return
        head = bytes(self._buffer[:end]).lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            if self._buffer.endswith(END_OF_CHUNKS):
                self._waiter.set_result((status, bytes(self._buffer[end + 4 :])))
            return
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) >= end + 4 + size:
            self._waiter.set_result((status, bytes(self._buffer[end + 4 :])))


class Socket(asyncio.Protocol):
    """A WebSocket that only listens and keeps the frames it got, in order."""

    def __init__(self, host: str, path: str, token: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._hello = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._buffer = bytearray()
        self._open = False
        self.frames: list[bytes] = []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._hello)

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            self._read_handshake()
        if self._open:
            self._read_frames()

    def _read_handshake(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(RuntimeError(bytes(self._buffer[:300]).decode()))
            return
        del self._buffer[: end + 4]
        self._open = True
        self.opened.set_result(None)

    def _read_frames(self) -> None:
        buffer = self._buffer
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(buffer[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < start + size:
                return
            if buffer[0] & 0x0F == 1:
                self.frames.append(bytes(buffer[start : start + size]))
            del buffer[: start + size]


class Feed(asyncio.Protocol):
    """A stream of server-sent events that only listens: (id, seconds) of each, in order."""

    def __init__(self, host: str, path: str, token: str) -> None:
        self._hello = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._buffer = bytearray()
        self._open = False
        self.heard: list[tuple[int, float]] = []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._hello)

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        moment = time.perf_counter()
        self._buffer += data
        if not self._open:
            self._read_head()
        while self._open and (end := self._buffer.find(b"\n\n")) >= 0:
            if found := EVENT_ID.search(self._buffer, 0, end + 1):
                self.heard.append((int(found[1]), moment))
            del self._buffer[: end + 2]

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.opened.set_exception(RuntimeError(bytes(self._buffer[:300]).decode()))
            return
        del self._buffer[: end + 4]
        self._open = True
        self.opened.set_result(None)


async def connect(port: int, token: str = "none") -> Http:
    loop = asyncio.get_running_loop()
    host = f"127.0.0.1:{port}"
    _, protocol = await loop.create_connection(lambda: Http(host, token), "127.0.0.1", port)
    return protocol


async def listen(port: int, path: str, token: str) -> Socket:
    loop = asyncio.get_running_loop()
    host = f"127.0.0.1:{port}"
    _, protocol = await loop.create_connection(lambda: Socket(host, path, token), "127.0.0.1", port)
    await protocol.opened
    return protocol


async def subscribe(port: int, path: str, token: str) -> Feed:
    loop = asyncio.get_running_loop()
    host = f"127.0.0.1:{port}"
    _, protocol = await loop.create_connection(lambda: Feed(host, path, token), "127.0.0.1", port)
    await protocol.opened
    return protocol
