"""Formations at addresses of the main port: `/api/{slug}/…`, `/draft/{slug}/…`, `/mcp/{slug}`.

A formation is no process: what upstream proxies to one is answered here, by the same application, with
the path that follows the address (contract/muxi.md §3.11).
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings

from apps.core.aio import db_call
from apps.formations import registry
from apps.surfaces.kit import FormationRef
from apps.workspaces.services.workspaces import RESERVED_SLUGS

if TYPE_CHECKING:
    from apps.events.http import Scope, Send
    from apps.formations.registry import Address

PREFIXES = ("/api/", "/draft/", "/mcp/")
_ADDRESS = re.compile(r"/(api|draft|mcp)/([^/]+)(/.*)?", re.DOTALL)

_SERVERS_OWN = frozenset({b"x-formation-id", b"x-muxi-server"})
_HOPS = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})


class Way(NamedTuple):
    """An address taken apart. `rest` is the formation's own path, `raw` the same as it was sent."""

    slug: str
    draft: bool
    rest: str
    raw: bytes


class NoWay(Exception):
    """No formation answers at this address: the status, and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def way_of(scope: Scope) -> Way | None:
    """The address in the path; None when it is nobody's (the other surfaces below `/api`)."""
    path: str = scope["path"]
    if not path.startswith(PREFIXES):
        return None
    found = _ADDRESS.fullmatch(path)
    if found is None or (found[1] == "api" and found[2] in RESERVED_SLUGS):
        return None
    kind, slug, rest = found.groups()
    parts = (scope.get("raw_path") or path.encode()).split(b"?")[0].split(b"/", 3)
    raw = b"/" + parts[3] if len(parts) > 3 else b""
    if kind == "mcp":  # what follows belongs to the formation's `/mcp`
        return Way(slug, False, f"/mcp{rest or ''}", b"/mcp" + raw)
    return Way(slug, kind == "draft", rest or "/", raw or b"/")


async def inside(scope: Scope, way: Way) -> dict[str, Any]:
    """`scope` as the formation sees it. Raises NoWay (404, 503)."""
    address = await found(way.slug, draft=way.draft)
    if address is None:
        raise NoWay(404, f"Formation '{way.slug[:50]}' not found")
    if address.status != registry.RUNNING:
        raise NoWay(503, f"Formation '{address.slug}' is not running")
    return {
        **scope,
        "path": way.rest,
        "raw_path": way.raw,
        "headers": forwarded(scope, address.slug),
        "formation": ref_of(address),
        "formation.proxied": True,
    }


async def found(slug: str, *, draft: bool) -> Address | None:
    """The address, out of this process's memory where that is young enough."""
    known = registry.remembered(slug, draft=draft)
    return known or await db_call(registry.look_up, slug, draft=draft)


def ref_of(address: Address) -> FormationRef:
    return FormationRef(address.slug, address.home_id, address.draft)


def forwarded(scope: Scope, slug: str) -> list[tuple[bytes, bytes]]:
    """The request's headers with what a proxy adds. What only the server may say is never the client's;
    the first hop's words about itself stay, where a trusted proxy stands in front of us.
    """
    kept = [(name, value) for name, value in scope["headers"] if name not in _SERVERS_OWN]
    said = (
        {name: value for name, value in kept if name in _HOPS} if settings.TRUSTED_PROXIES else {}
    )
    host = next((value for name, value in kept if name == b"host"), b"")
    ours = {
        b"x-forwarded-for": str((scope.get("client") or ("",))[0]).encode(),
        b"x-forwarded-proto": scope.get("scheme", "http").encode(),
        b"x-forwarded-host": host,
    }
    kept = [(name, value) for name, value in kept if name not in _HOPS]
    kept += (ours | said).items()
    return [
        *kept,
        (b"x-formation-id", slug.encode()),
        (b"x-muxi-server", settings.VERSION.encode()),
    ]


async def refuse(send: Send, status: int, message: str) -> None:
    """`{error, message, code}`: what the server itself says where a formation does not."""
    words = {"error": HTTPStatus(status).phrase, "message": message, "code": status}
    body = json.dumps(words).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
