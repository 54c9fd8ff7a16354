"""Django's WSGI handler behind ASGI: a fixed pool of threads, a bounded queue, counted bodies.

Measured on 2 cores: Django's ASGI handler makes a thread a request and does a tenth of this. Bodies are
read on the loop before a thread is taken, so a slow sender holds none; beyond 1 MiB they wait on disk.
A streamed answer (a file) takes a thread for each piece, so a slow reader holds none either.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.conf import settings

from apps.core.aio import return_connections
from apps.core.errors import DomainError, TooLarge, Unavailable
from apps.surfaces import kit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from apps.events.http import Receive, Scope, Send

MOST_WAITING = 256
MEMORY_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024
IDLE_SECONDS = 30.0
JSON_KINDS = (b"application/json", b"application/x-www-form-urlencoded", b"text/plain", b"")


class _Gone(Exception):
    """The client went away before its request was whole."""


class ThreadBridge:
    """The ASGI application. `close()` at shutdown."""

    def __init__(self, wsgi: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi = wsgi
        self._threads: ThreadPoolExecutor | None = None
        self._open = 0

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(scope, receive)
            answer = await self._in_thread(scope, body)
        except _Gone:
            return
        except DomainError as error:
            await _refuse(scope, send, error)
            return
        await self._reply(answer, send)

    async def _in_thread(self, scope: Scope, body: Any) -> _Answer:
        if self._open >= settings.WEB_THREADS + MOST_WAITING:
            body.close()
            raise Unavailable(retry_after=1)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="web")
        self._open += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._call, build_environ(scope, body))
        finally:
            self._open -= 1

    def _call(self, environ: dict[str, Any]) -> _Answer:
        """In a thread: the whole answer, or its first piece and the rest."""
        answer = _Answer()
        try:
            answer.run(self._wsgi(environ, answer.start))
        finally:
            if answer.rest is not None or not answer.status:
                # No request_finished signal has returned this thread's connection yet.
                return_connections()
            environ["wsgi.input"].close()
        return answer

    async def _reply(self, answer: _Answer, send: Send) -> None:
        try:
            start = {"status": answer.status, "headers": answer.headers}
            await send({"type": "http.response.start", **start})
            more = answer.rest is not None
            await send({"type": "http.response.body", "body": answer.first, "more_body": more})
            loop = asyncio.get_running_loop()
            while more:
                piece, more = await loop.run_in_executor(self._threads, _one_piece, answer)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            if answer.rest is not None:
                answer.close_in(self._threads)


def _one_piece(answer: _Answer) -> tuple[bytes, bool]:
    """In a thread: a piece may have been made with the database's help."""
    try:
        return answer.next_piece()
    finally:
        return_connections()


class _Answer:
    """What the WSGI handler said. Events are sent one by one, everything else in larger pieces."""

    def __init__(self) -> None:
        self.status = 0
        self.piece_bytes = PIECE_BYTES
        self.headers: list[tuple[bytes, bytes]] = []
        self.first = b""
        self.rest: Iterator[bytes] | None = None
        self._close: Callable[[], object] | None = None

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        if any(value.startswith(b"text/event-stream") for _, value in self.headers):
            self.piece_bytes = 1

    def run(self, chunks: Iterable[bytes]) -> None:
        self._close = getattr(chunks, "close", None)
        self.rest = iter(chunks)
        self.first, more = self.next_piece()
        if not more:
            self.rest = None
            if self._close is not None:
                self._close()

    def next_piece(self) -> tuple[bytes, bool]:
        """(up to about `piece_bytes`, whether there is more)."""
        assert self.rest is not None
        pieces: list[bytes] = []
        size = 0
        for piece in self.rest:
            pieces.append(piece)
            size += len(piece)
            if size >= self.piece_bytes:
                return b"".join(pieces), True
        return b"".join(pieces), False

    def close_in(self, threads: ThreadPoolExecutor | None) -> None:
        if self._close is not None and threads is not None:
            threads.submit(self._close)


async def _read_body(scope: Scope, receive: Receive) -> Any:
    """The body as a file at its start. `TooLarge` by its declared or by its counted length."""
    cap, declared, chunked = _limits(scope)
    if not declared and not chunked:
        return io.BytesIO()
    if declared > cap:
        raise TooLarge(max_upload_size=cap)
    chunks: list[bytes] = []
    spool: Any = None
    size = 0
    more = True
    while more:
        message = await _next_message(receive)
        if message["type"] == "http.disconnect":
            if spool is not None:
                spool.close()
            raise _Gone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > cap:
            if spool is not None:
                spool.close()
            raise TooLarge(max_upload_size=cap)
        chunks.append(chunk)
        if size > MEMORY_BYTES and more:
            spool = spool or tempfile.TemporaryFile()  # noqa: SIM115 - closed by the thread
            await asyncio.to_thread(spool.writelines, chunks)
            chunks = []
    if spool is None:
        return io.BytesIO(b"".join(chunks))
    spool.writelines(chunks)
    spool.seek(0)
    return spool


async def _next_message(receive: Receive) -> Any:
    """The next message; a sender that is silent for 30 seconds counts as gone."""
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await receive()
    except TimeoutError:
        raise _Gone from None


def _limits(scope: Scope) -> tuple[int, int, bool]:
    """(the most bytes this body may have, what it declares, whether it comes in chunks)."""
    kind, declared, chunked = b"", 0, False
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.split(b";")[0].strip().lower()
        elif name == b"content-length" and value.isdigit():
            declared = int(value[:18])
        elif name == b"transfer-encoding":
            chunked = True
    is_json = kind in JSON_KINDS or kind.endswith(b"+json")
    cap = settings.MAX_BODY_BYTES if is_json else settings.MAX_UPLOAD_BYTES
    return cap, declared, chunked


async def _refuse(scope: Scope, send: Send, error: DomainError) -> None:
    from apps.events.http import send_reply
    from apps.surfaces.prefixes import surface_for

    seen = kit.from_scope(scope)
    await send_reply(send, surface_for(seen).answer(error, seen))


def build_environ(scope: Scope, body: Any) -> dict[str, Any]:
    """PEP 3333's environ. Header names with an underscore are dropped: they would pose as others.

    `polymux.formation`: the FormationRef of a request to a formation's address.
    """
    query = scope["query_string"].decode("latin-1")
    raw = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "RAW_URI": f"{raw}?{query}" if query else raw,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if "formation" in scope:
        environ["polymux.formation"] = scope["formation"]
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = _header_key(name)
        text = value.decode("latin-1")
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" in environ:
        environ["CONTENT_LENGTH"] = str(body.seek(0, io.SEEK_END))
        body.seek(0)
    return environ


def _header_key(name: bytes) -> str:
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
