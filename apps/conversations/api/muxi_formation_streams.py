"""The feeds of the muxi-formation surface: events and logs (contract/muxi.md §5.6).

A feed's head is sent at once and a comment each second, so that who listens knows that it is there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from apps.conversations import selectors
from apps.conversations.muxi.admission import Asker, enter
from apps.conversations.muxi.answers import KEEP_ALIVE, About, frame
from apps.conversations.muxi.feed import (
    FILTERS,
    NEWS,
    TURN_NAMES,
    AsRows,
    InWords,
    LogOf,
    NewsOf,
    OneTurn,
)
from apps.core.aio import db_call
from apps.core.errors import DomainError, InvalidInput
from apps.events import sse
from apps.events.http import Exchange, StreamingApp
from apps.events.hub import hub
from apps.surfaces import muxi_formation
from apps.surfaces.muxi_formation import ADMIN, EITHER

if TYPE_CHECKING:
    from uuid import UUID

    from apps.conversations.models import Session, TurnRequest
    from apps.events.stream import Subscription
    from apps.surfaces.kit import Credentials

SURFACE = muxi_formation.SURFACE
MANNER = sse.Manner(opening=KEEP_ALIVE, beat=KEEP_ALIVE, seconds=1.0)


class Feed(StreamingApp):
    """One feed: `listen` says to what."""

    surface = SURFACE
    reads_body = False

    async def subscribed(
        self, asker: Asker, encoder: AsRows, realm: str, session_id: UUID | None = None
    ) -> Subscription:
        actor = asker.actor
        return await hub().subscribe(
            actor.workspace_id,
            encoder,
            session_id=session_id,
            still_allowed=partial(_still_allowed, asker.seen, realm),
            token_id=actor.token_id,
            user_id=actor.user_id,
        )


class UserEvents(Feed):
    """`GET /v1/events`: of the user's turns; the admin key without a user hears of everybody's."""

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        asker, end_user = await db_call(_user, exchange.seen)
        sub = await self.subscribed(asker, AsRows(NEWS), EITHER)
        await _serve(exchange, sub, NewsOf(asker.actor, end_user))


class SessionEvents(Feed):
    """`GET /v1/events/{session}`."""

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        asker, session = await db_call(_session, exchange.seen)
        sub = await self.subscribed(asker, AsRows(NEWS), EITHER, session.pk)
        await _serve(exchange, sub, NewsOf(asker.actor, session.end_user))


class RequestEvents(Feed):
    """`GET /v1/events/{session}/{request}`: one turn, token for token, until its end.

    A request that is over, or is nobody's of this user, is one `error` frame: clients of this stream
    read frames and no status.
    """

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        asker, request = await db_call(_request, exchange.seen)
        if request is None:
            await _only(exchange, "There is no such request in this session.")
            return
        encoder = AsRows(TURN_NAMES, tokens=True)
        sub = await self.subscribed(asker, encoder, EITHER, request.session_id)
        if await db_call(selectors.is_over, asker.actor, request):  # once its end would be heard
            sub.close()
            await _only(exchange, "This request is not streaming.")
            return
        await _serve(exchange, sub, _one_turn(request, sub))


class Logs(Feed):
    """`GET /v1/logs`: the formation's facts that fit every filter; there must be one."""

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        asker, wanted = await db_call(_filters, exchange.seen)
        sub = await self.subscribed(asker, AsRows(None), ADMIN)
        await _serve(exchange, sub, LogOf(asker.actor, wanted))

    def in_band(self, exchange: Exchange, error: BaseException) -> bytes:
        return frame({"error": "The log broke off."}, event="error")


async def _serve(exchange: Exchange, sub: Subscription, tell: Any) -> None:
    await sse.serve(exchange, cast("Subscription", InWords(sub, tell)), manner=MANNER)


async def _only(exchange: Exchange, words: str) -> None:
    await exchange.start(200, sse.HEADERS)
    await exchange.finish(frame({"error": words}))


# --- The door -------------------------------------------------------------------------------------
def _names(seen: Credentials) -> list[str]:
    """What follows `/v1/events`."""
    return [unquote(part) for part in seen.path.split("/")[3:]]


def _user(seen: Credentials) -> tuple[Asker, str | None]:
    asker = enter(seen, EITHER)
    return asker, asker.user(asker.named())


def _session(seen: Credentials) -> tuple[Asker, Session]:
    asker, end_user = _user(seen)
    key = _names(seen)[0]
    return asker, selectors.find_told_session(asker.actor, end_user, key)


def _request(seen: Credentials) -> tuple[Asker, TurnRequest | None]:
    asker, end_user = _user(seen)
    key, name = _names(seen)[:2]
    try:
        request = selectors.get_request(asker.actor, end_user, name)
    except DomainError:
        return asker, None
    return asker, request if request.session.external_key == key else None


def _one_turn(request: TurnRequest, sub: Subscription) -> OneTurn:
    agent = request.run.agent.name if request.run.agent else ""
    about = About(request.name, request.session.external_key, request.end_user, agent)
    turn = OneTurn(request.run_id, about, sub.end)
    sub.send(turn.opening().decode())
    return turn


def _filters(seen: Credentials) -> tuple[Asker, dict[str, str]]:
    asker = enter(seen, ADMIN)
    wanted = {name: seen.query[name] for name in FILTERS if seen.query.get(name)}
    if not wanted:
        raise InvalidInput(f"Name at least one filter: {', '.join(FILTERS)}.")
    if named := wanted.get("user_id"):
        wanted["user_id"] = asker.user(named) or ""
    return asker, wanted


def _still_allowed(seen: Credentials, realm: str) -> bool:
    """Asked every few seconds on a database thread."""
    try:
        enter(seen, realm)
    except DomainError:
        return False
    return True


user_events, session_events = UserEvents(), SessionEvents()
request_events, logs = RequestEvents(), Logs()
