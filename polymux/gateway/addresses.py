"""Formations at addresses of the main port: `/api/{slug}/…`, `/draft/{slug}/…`, `/mcp/{slug}`.

A formation is no process: what upstream proxies to one is answered here, by the same application, with
the path that follows the address (contract/muxi.md §3.11).
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from apps.core.aio import db_call
from apps.formations import registry
from apps.surfaces.kit import FormationRef
from apps.workspaces.services.workspaces import RESERVED_SLUGS

if TYPE_CHECKING:
    from apps.events.http import Scope, Send
    from apps.formations.registry import Address

PREFIXES = ("/api/", "/draft/", "/mcp/")
_ADDRESS = re.compile(r"/(api|draft|mcp)/([^/]+)(/.*)?", re.DOTALL)


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
    address = registry.remembered(way.slug, draft=way.draft)
    if address is None:
        address = await db_call(registry.look_up, way.slug, draft=way.draft)
    if address is None:
        raise NoWay(404, f"Formation '{way.slug[:50]}' not found")
    if address.status != registry.RUNNING:
        raise NoWay(503, f"Formation '{address.slug}' is not running")
    return {**scope, "path": way.rest, "raw_path": way.raw, "formation": ref_of(address)}


def ref_of(address: Address) -> FormationRef:
    return FormationRef(address.slug, address.home_id, address.draft)


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
