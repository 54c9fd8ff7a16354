"""The headers around a formation's answers (contract/muxi.md §1): CORS, and the SDK's version.

A formation is called by any page: it proves by keys in headers, never by cookies, so echoing the origin
gives nothing away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.events.http import Scope, Send

METHODS = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
MAX_AGE = b"600"
LONGEST_VERSION = 64


def is_preflight(scope: Scope) -> bool:
    """A browser asks what it may send."""
    return (
        scope["method"] == "OPTIONS"
        and _said(scope, b"origin") is not None
        and _said(scope, b"access-control-request-method") is not None
    )


async def answer_preflight(scope: Scope, send: Send) -> None:
    asked = _said(scope, b"access-control-request-headers")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"2"),
        *_allowed(_said(scope, b"origin") or b""),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-max-age", MAX_AGE),
    ]
    if asked is not None:
        headers.append((b"access-control-allow-headers", asked))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"OK"})


def answering(scope: Scope, send: Send) -> Send:
    """`send` for this request: with the caller's origin echoed and, on a proxied answer, the version of
    the SDK that asks, so that it prints no hint to upgrade. Django's own CORS rules do not hold here.
    """
    extra = list(_allowed(origin)) if (origin := _said(scope, b"origin")) is not None else []
    if "formation.proxied" in scope and (version := _sdk_version(scope)):
        extra.append((b"x-muxi-sdk-latest", version))
    if not extra:
        return send

    async def send_with(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*_without_cors(message["headers"]), *extra]}
        await send(message)

    return send_with


def _allowed(origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    )


def _without_cors(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(n, v) for n, v in headers if not n.lower().startswith(b"access-control-")]


def _sdk_version(scope: Scope) -> bytes:
    """`1.2.3` of `X-Muxi-SDK: python/1.2.3`."""
    version = (_said(scope, b"x-muxi-sdk") or b"").partition(b"/")[2]
    return version if len(version) <= LONGEST_VERSION else b""


def _said(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)
