"""What the muxi-server surface does on the loop: logs that are followed, and doors in front of uploads.

A door looks at the headers and refuses before a byte of the bundle is read (contract/muxi.md §3.3, step
1); whom it lets pass is answered by Django's views, which ask the same again.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from apps.core.actor import Scope
from apps.core.aio import db_call
from apps.core.errors import DomainError, NotFound
from apps.events import sse
from apps.events.http import Exchange, StreamingApp, send_reply
from apps.events.hub import hub
from apps.formations import log, selectors, services
from apps.formations.api import uploads
from apps.formations.api.muxi_server import asked_stream, note
from apps.surfaces import kit, muxi_server
from apps.surfaces.kit import Admission
from apps.surfaces.parsing import is_clean
from apps.workspaces.selectors import hmac_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.events.http import Receive, Send
    from apps.events.http import Scope as Asked
    from apps.events.selectors import EventRow
    from apps.surfaces.kit import Credentials, Reply

    Django = Callable[[Asked, Receive, Send], Awaitable[None]]

SURFACE = muxi_server.SURFACE


# --- Doors ------------------------------------------------------------------------------------------


async def deploy_door(scope: Asked, receive: Receive, send: Send, django: Django) -> None:
    """`POST /rpc/formations`."""
    await _guard(_check_deploy, scope, receive, send, django=django)


async def update_door(scope: Asked, receive: Receive, send: Send, django: Django) -> None:
    """`PUT /rpc/formations/{formation_id}`."""
    await _guard(_check_update, scope, receive, send, django=django)


async def log_door(scope: Asked, receive: Receive, send: Send, django: Django) -> None:
    """`GET …/logs`: followed on the loop, read by Django."""
    follows = kit.from_scope(scope).query.get("follow") in {"true", "1"}
    await (log_stream if follows else django)(scope, receive, send)


async def _guard(
    check: Callable[[Actor, Credentials], None],
    scope: Asked,
    receive: Receive,
    send: Send,
    *,
    django: Django,
) -> None:
    seen = kit.from_scope(scope)
    try:
        refusal = await db_call(_refusal, check, seen)
    except DomainError as error:  # the database has too much to do
        refusal = SURFACE.answer(error, seen)
    if refusal is None:
        await django(scope, receive, send)
    else:
        await send_reply(send, refusal)


def _refusal(check: Callable[[Actor, Credentials], None], seen: Credentials) -> Reply | None:
    began, admission = time.monotonic(), Admission(SURFACE, seen)
    try:
        check(_admitted(admission, Scope.WRITE), seen)
    except Exception as error:  # noqa: BLE001  (every error has an answer in the surface's words)
        reply = admission.answer(error)
        note(admission, reply.status, began)
        return reply
    return None


def _check_deploy(actor: Actor, seen: Credentials) -> None:
    uploads.check_type(seen)
    services.check_new(actor, uploads.formation_header(seen))


def _check_update(actor: Actor, seen: Credentials) -> None:
    uploads.check_type(seen)
    services.check_update(actor, _formation_of(seen.path))


# --- Logs -------------------------------------------------------------------------------------------


class LogStream(StreamingApp):
    """`GET …/logs?follow=1` and `GET …/logs/stream`: `connected`, then a `log` for each new line."""

    surface = SURFACE
    reads_body = False

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        seen, began = exchange.seen, time.monotonic()
        stream = asked_stream(seen.query)
        home_id, slug, actor = await db_call(_find, seen, began)
        sub = await hub().subscribe(
            home_id,
            _encoder(slug, stream),
            since=sse.last_event_id(seen.headers, seen.query),
            still_allowed=partial(_still_allowed, muxi_server.parse(seen.headers["authorization"])),
            token_id=actor.token_id,
        )
        opening = sse.block({"formation_id": slug}, event="connected")
        await sse.serve(exchange, sub, manner=sse.Manner(opening=opening))


def _encoder(slug: str, stream: str) -> sse.SseEncoder:
    def told(row: EventRow) -> list[tuple[str, Any]] | None:
        where = log.STDERR if log.is_failure(row) else log.STDOUT
        if stream not in {"all", where}:
            return None
        return [("log", {"line": log.line_of(row), "formation_id": slug, "stream": where})]

    return sse.SseEncoder(f"muxi-log:{slug}:{stream}", told)


def _find(seen: Credentials, began: float) -> tuple[UUID, str, Actor]:
    admission = Admission(SURFACE, seen)
    status = 200
    try:
        actor = _admitted(admission, Scope.READ)
        formation = selectors.find_formation(actor, _formation_of(seen.path))
    except DomainError as error:
        status = SURFACE.status_of(error)
        raise
    finally:
        note(admission, status, began)
    return formation.home_id, formation.slug, actor


def _still_allowed(signature: muxi_server.Signature) -> bool:
    """The signature was fresh when it came; what counts from then on is that its key lives."""
    try:
        hmac_key(signature.key)
    except DomainError:
        return False
    return True


def _admitted(admission: Admission, scope: Scope) -> Actor:
    admission.admit(workspace="", scope=scope)
    assert admission.actor is not None
    return admission.actor


def _formation_of(path: str) -> str:
    """`/rpc/formations/{formation_id}/…`; NotFound for what cannot be an id."""
    slug = path.split("/")[3]
    if not is_clean(slug):
        raise NotFound
    return slug


log_stream = LogStream()
