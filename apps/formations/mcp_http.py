"""The guarded way to an MCP server on the web.

The SDK brings its own HTTP client; this transport goes below it, so that every request, redirects
included, is resolved once, checked by `core.net` and sent to exactly the address that was checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from apps.core import net
from apps.core.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

MOST_BYTES = 8 * 1024 * 1024  # of one answer that is not an event stream
CONNECT = 10.0  # seconds
SILENCE = 300.0  # seconds without a byte


class AnswerTooLarge(httpx2.TransportError):
    pass


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise AnswerTooLarge(f"The server sent more than {MOST_BYTES} bytes.")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Connects only to checked addresses; TLS and `Host` still speak of the name."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            target = await net.check_url(str(request.url))
        except DomainError as error:  # the SDK knows what to do with its own client's errors
            raise httpx2.ConnectError(error.message) from error
        # A copy: the SDK compares redirects with the request it made, which names the host.
        sent = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(target.address)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        sent.headers["host"] = request.url.netloc.decode("ascii")
        response = await super().handle_async_request(sent)
        if "text/event-stream" not in response.headers.get("content-type", ""):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Capped(response.stream)
        return response


def guarded_client(headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client for the SDK. No proxies or `.netrc` from the environment, no compression (bombs)."""
    return httpx2.AsyncClient(
        transport=GuardedTransport(trust_env=False),
        headers={"accept-encoding": "identity", **headers},
        timeout=httpx2.Timeout(SILENCE, connect=CONNECT, write=CONNECT, pool=CONNECT),
        trust_env=False,
    )
