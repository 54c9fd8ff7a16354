"""What a formation answers to everybody: `/v1/health`, and a page at `/` and `/v1` (contract §5.9).

Bare ASGI applications: a monitor asks often, and neither thread nor view is worth it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.utils.html import escape

from apps.formations import registry
from polymux.gateway import addresses

if TYPE_CHECKING:
    from apps.events.http import Receive, Scope, Send
    from apps.formations.registry import Address

log = logging.getLogger(__name__)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{state}</h1><p>{title}{version}</p></body></html>
"""
PAGE_CSP = b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"


async def health(scope: Scope, _receive: Receive, send: Send) -> None:
    """`{status, version, uptime_seconds}`, not enveloped: 200, or 503 when it does not run."""
    address = await _address(scope)
    up = _is_up(address)
    words = {
        "status": "healthy" if up else "unhealthy",
        "version": address.version if address else "",
        "uptime_seconds": _seconds_since(address.started_at) if address and up else 0,
    }
    kind = (b"content-type", b"application/json")
    await _answer(scope, send, 200 if up else 503, json.dumps(words).encode(), kind)


async def up_page(scope: Scope, _receive: Receive, send: Send) -> None:
    """Up or Down, for people."""
    address = await _address(scope)
    up = _is_up(address)
    page = PAGE.format(
        title=escape(scope["formation"].slug),
        state="Up" if up else "Down",
        version=escape(f" {address.version}") if address else "",
    )
    kind = (b"content-type", b"text/html; charset=utf-8")
    csp = (b"content-security-policy", PAGE_CSP)
    await _answer(scope, send, 200 if up else 503, page.encode(), kind, csp)


async def _address(scope: Scope) -> Address | None:
    """What this process knows; None when it cannot be known."""
    ref = scope["formation"]
    try:
        return await addresses.found(ref.slug, draft=ref.draft)
    except Exception as error:  # noqa: BLE001  (a formation whose database is gone is not healthy)
        log.warning("the health of %s is not known: %s", ref.slug, type(error).__name__)
        return None


def _is_up(address: Address | None) -> bool:
    return address is not None and address.status == registry.RUNNING


def _seconds_since(moment: datetime | None) -> int:
    return max(0, int((datetime.now(UTC) - moment).total_seconds())) if moment else 0


async def _answer(
    scope: Scope, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]
) -> None:
    """GET and HEAD; 405 for what else is asked of a page."""
    method = scope["method"]
    every: list[tuple[bytes, bytes]] = [*headers, (b"cache-control", b"no-store")]
    if method not in {"GET", "HEAD"}:
        status, body = 405, b""
        every.append((b"allow", b"GET, HEAD"))
    every.append((b"content-length", str(len(body)).encode()))
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": every}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
