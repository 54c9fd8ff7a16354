"""polpo's feeds (contract/polpo.md §16-17): `GET …/events` as SSE, `ws …/ws`; both layouts of §1.1.

`/api/v1/projects/{id}/events` speaks un-named messages (SEED), `/api/v1/events` named ones (SDK);
`?format=message|named` chooses either on either path. What a feed tells, its ids, how one resumes and
how a gap is told: `feed.py`. Without an id to go on from a feed begins now, with no snapshot.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call
from apps.core.errors import DomainError, InvalidInput, NotFound, RateLimited
from apps.events import feed, patterns, sse
from apps.events.errors import BadFrame
from apps.events.http import Exchange, StreamingApp
from apps.events.hub import hub
from apps.events.socket import Context, Frame, LiveSocket
from apps.events.words import spoken
from apps.surfaces import polpo
from apps.surfaces.kit import Admission, Credentials
from apps.surfaces.parsing import is_clean

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from apps.core.actor import Actor
    from apps.events.stream import Encoder

SURFACE = polpo.SURFACE
FORMS = {form.name: form for form in (feed.MESSAGE, feed.NAMED)}
MOST_REPLAYS = 8  # a connection may ask for; each is up to 1,000 events


class EventFeed(StreamingApp):
    """`GET /api/v1/projects/{project_id}/events` and `GET /api/v1/events`."""

    surface = SURFACE
    reads_body = False

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        seen = exchange.seen
        actor = await db_call(_admit, seen)
        form, wanted = _form_of(seen), patterns.parse_filter(seen.query.get("filter", ""))
        since = feed.last_event_id(seen.headers, seen.query)
        sub = await hub().subscribe(
            actor.workspace_id,
            feed.FeedEncoder(SURFACE.name, form, wanted),
            since=since,
            replay_at_most=feed.REPLAYED,
            names=spoken(SURFACE.name),
            still_allowed=partial(_still_allowed, seen, actor),
            token_id=actor.token_id,
            user_id=actor.user_id,
        )
        await sse.serve(exchange, sub, since=since, manner=form.manner)


class FeedSocket(LiveSocket):
    """One client; it hears everything until its first subscription."""

    surface = SURFACE
    subprotocol = ""
    replay_at_most = feed.REPLAYED
    told: feed.FeedEncoder
    replays = 0

    async def authorize(self, credentials: Credentials) -> Context:
        actor = await db_call(_admit, credentials)
        return Context(actor, still_allowed=partial(_still_allowed, credentials, actor))

    async def opening_frames(self, context: Context) -> Sequence[Frame]:
        return [_gap(self.since(), self.sub.cursor)] if self.sub.gap else ()

    # --- The envelope of §17 -------------------------------------------------------------------

    def encoder(self) -> Encoder:
        self.told = feed.FeedEncoder(SURFACE.name, feed.FRAME)
        return self.told

    def names(self) -> frozenset[str]:
        return spoken(SURFACE.name)

    def since(self) -> int | None:
        return feed.last_event_id(self.seen.headers, self.seen.query)

    def whole(self, kind: str, payload: Any) -> str:
        return feed.dumped({"type": kind, **payload})

    def payload_of(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body.items() if name != "type"}

    def code_of(self, error: DomainError) -> str:
        return polpo.CODES[error.kind]

    def complain(self, code: str, message: str, *, recoverable: bool = True) -> None:
        self.tell("error", {"error": message, "code": code})

    # --- Hearing -------------------------------------------------------------------------------

    async def on_frame(self, kind: str, payload: dict[str, Any]) -> None:
        handler = HANDLERS.get(kind)
        if handler is None:
            raise BadFrame(f"Unknown message type {kind[:60]!r}: subscribe, unsubscribe or ping.")
        await handler(self, payload)

    async def subscribe(self, payload: dict[str, Any]) -> None:
        """These, too; without a pattern everything. `lastEventId`: what was missed of them first."""
        words, since = _patterns_in(payload), _since_in(payload)
        wanted = self.told.patterns.plus(words) if words else patterns.EVERYTHING
        if since is not None:
            await self._replay(since, wanted)
        self.told.want(wanted)

    async def unsubscribe(self, payload: dict[str, Any]) -> None:
        """Without these; without a pattern nothing is told any more."""
        words = _patterns_in(payload)
        self.told.want(self.told.patterns.minus(words) if words else patterns.NOTHING)

    async def _replay(self, since: int, wanted: patterns.Patterns) -> None:
        if self.replays >= MOST_REPLAYS:
            raise RateLimited(f"At most {MOST_REPLAYS} replays a connection.")
        self.replays += 1
        gap = await hub().rewind(self.sub, since, replay_at_most=self.replay_at_most)
        self.told.want(wanted)
        if gap:
            self.tell(*_gap(since, self.sub.cursor))


HANDLERS: dict[str, Callable[[FeedSocket, dict[str, Any]], Coroutine[Any, Any, None]]] = {
    "subscribe": FeedSocket.subscribe,
    "unsubscribe": FeedSocket.unsubscribe,
}


def _gap(since: int | None, resumed_at: int) -> Frame:
    return "gap", {"event": "gap", "data": feed.gap_of(since, resumed_at)}


def _patterns_in(payload: dict[str, Any]) -> list[str]:
    """`pattern` (SEED), `patterns` and `events` (CODE-W), together."""
    one, found = payload.get("pattern"), []
    if one is not None:
        found.append(one)
    for name in ("patterns", "events"):
        several = payload.get(name)
        if several is not None and not isinstance(several, list):
            raise BadFrame(f"{name} is a list of event names.")
        found += several or []
    if not all(isinstance(word, str) for word in found):
        raise BadFrame("A pattern is a text.")
    return found


def _since_in(payload: dict[str, Any]) -> int | None:
    said = payload.get("lastEventId")
    if said is None:
        return None
    position = feed.position_of(str(said)) if isinstance(said, (str, int)) else None
    if position is None:
        raise BadFrame("lastEventId is the id of an event.")
    return position


# --- The door ------------------------------------------------------------------------------------
def _project_of(path: str) -> str:
    """As the path spells it, or `DEFAULT_PROJECT`."""
    parts = path.split("/")  # "", api, v1, projects, <id>, events
    return parts[4] if parts[3] == "projects" else polpo.DEFAULT_PROJECT


def _admit(seen: Credentials) -> Actor:
    """Prove, throttle (one request), enter the project."""
    project = _project_of(seen.path)
    admission = Admission(SURFACE, seen)
    admission.admit(workspace=lambda _: project if is_clean(project) else None, bucket="read")
    if admission.actor is None:
        raise NotFound
    return admission.actor


def _still_allowed(seen: Credentials, actor: Actor) -> bool:
    """Asked every few seconds on a database thread, once for all streams of a credential."""
    try:
        SURFACE.authenticate(seen, workspace=actor.workspace_id)
    except DomainError:
        return False
    return True


def _form_of(seen: Credentials) -> feed.Form:
    usual = feed.NAMED if _project_of(seen.path) == polpo.DEFAULT_PROJECT else feed.MESSAGE
    said = seen.query.get("format")
    if said is not None and said not in FORMS:
        raise InvalidInput(f"format is one of {', '.join(sorted(FORMS))}.")
    return FORMS[said] if said else usual


event_feed, feed_socket = EventFeed(), FeedSocket.as_app()
