"""From a request of an end user's application to the turn that answers it (contract/muxi.md §5.1, §5.4-5.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.base import ContentFile

from apps.conversations.admission import TITLE_LENGTH, stored_history
from apps.conversations.asked import Asked
from apps.conversations.continuing import Place, opened
from apps.conversations.errors import TriggerUnusable
from apps.conversations.history import with_files
from apps.conversations.inline import InlineTurn
from apps.conversations.models import MUXI
from apps.conversations.muxi.answers import About
from apps.conversations.muxi.asks import decoded, parse_audio, parse_chat, parse_trigger
from apps.conversations.overlord import choose, crew_of, forget_crews
from apps.conversations.selectors import find_by_external_key
from apps.conversations.services.attachments import discard_files, store_file
from apps.conversations.services.messages import MAX_CONTENT
from apps.conversations.services.webhooks import RETRIES, TIMEOUT
from apps.core.actor import Scope
from apps.core.errors import IdempotencyConflict, InvalidInput, Unprocessable
from apps.core.ids import wire_id
from apps.engine.audio import Clip
from apps.engine.errors import NoTranscription
from apps.engine.ports import Sampling
from apps.engine.refs import canonical_ref
from apps.formations import registry
from apps.formations.bundles import BundleError, render
from apps.formations.end_users import end_user_of
from apps.formations.errors import TriggerNotFound
from apps.formations.limits import limits_of
from apps.knowledge.selectors import prompt_context
from apps.runs.selectors import need_turn_room
from apps.surfaces import idempotency, muxi_formation
from apps.surfaces.kit import Admission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.conversations.models import Attachment, Session
    from apps.conversations.muxi.asks import AudioAsk, InFile
    from apps.conversations.overlord import Crew
    from apps.core.actor import Actor
    from apps.formations.models import Agent
    from apps.formations.registry import Running
    from apps.surfaces.kit import Credentials
    from apps.surfaces.models import IdempotentReply

_TRIGGER = re.compile(r"[A-Za-z0-9_-]+")
NOBODY = "0"  # who speaks where an application names nobody
MOST_RETRIES, LONGEST_TIMEOUT = 10, 60.0


class Replayed(Exception):
    """The answer to this request is known already."""

    def __init__(self, kept: IdempotentReply) -> None:
        self.kept = kept


class InFlight(Exception):
    """Another request with this idempotency key is under way."""

    def __init__(self, credential: str, key: str) -> None:
        self.credential, self.key = credential, key


@dataclass(frozen=True, slots=True)
class Asker:
    """A proven request. `is_admin`: it holds the admin key."""

    seen: Credentials
    actor: Actor
    formation: Running
    headers: dict[str, str]

    @property
    def is_admin(self) -> bool:
        return self.actor.scope >= Scope.ADMIN

    def named(self, said: str | None = None) -> str:
        """The user as the request names one: in the header, else the query, else `said`; "" for none."""
        seen = self.seen
        return seen.headers.get("x-muxi-user-id") or seen.query.get("user_id") or said or ""

    def user(self, named: str, *, required: bool = True) -> str | None:
        """Whose rows it is about. None: everybody's (admin only)."""
        return end_user_of(self.formation, named, admin=self.is_admin, required=required)


def enter(seen: Credentials, realm: str, *, scope: Scope = Scope.READ) -> Asker:
    """Prove, throttle, find the formation. Database work: call it off the loop."""
    admission = Admission(muxi_formation.SURFACE, seen)
    admission.admit(workspace=lambda _: "", scope=scope, realm=realm)
    assert admission.actor is not None
    formation = registry.running(admission.actor.workspace_id)
    return Asker(seen, admission.actor, formation, admission.headers)


@dataclass(slots=True)
class Wish:
    """What a turn is asked to be, whichever route brought it. `user_id` as the caller said it.

    `patience`: seconds after which a whole answer is no more waited for, and the turn goes on alone.
    """

    said: str
    user_id: str
    end_user: str
    name: str
    agent_id: str = ""
    session_id: str = ""
    files: Sequence[InFile] = ()
    webhook: dict[str, Any] | None = None
    later: bool = False
    patience: float | None = None
    streams: bool = False
    as_objects: bool = False


@dataclass(slots=True)
class AdmittedTurn:
    """A turn that may begin. `undecided`: a model is to say which of the crew answers.

    `begun`: its rows are there, or will be. `goes_alone`: its client was told not to wait.
    """

    asker: Asker
    wish: Wish
    turn: InlineTurn
    crew: Crew
    undecided: bool
    about: About
    claim: idempotency.Claim | None = None
    begun: bool = False
    goes_alone: bool = False

    @property
    def seen(self) -> Credentials:
        """The request under the name that it is asked for by: so says the answer's envelope."""
        return replace(self.asker.seen, request_id=self.wish.name)

    def give_to(self, agent: Agent) -> None:
        """The agent that was chosen after all."""
        turn = self.turn
        turn.agent, self.about.agent = agent, agent.name
        turn.context = prompt_context(turn.actor, agent_id=agent.pk, end_user=self.wish.end_user)
        if turn.is_new:
            turn.session.agent_id = agent.pk

    def choose_again(self) -> None:
        """By their words alone, among those who are there now; else the generalist."""
        forget_crews(self.asker.actor.workspace_id)
        self.crew = crew_of(self.asker.actor)
        self.give_to(choose(self.crew, self.wish.said) or self.crew.generalist)

    def discard(self) -> None:
        """Nothing came of it: the bytes of its files may go."""
        discard_files(self.asker.actor, self.turn.files)


def wish_of(asker: Asker, ask: Any, said: str, *, files: Sequence[InFile] = ()) -> Wish:
    """`ask`: a parsed body with `user_id`, and perhaps `agent_id`, `session_id`, `request_id`."""
    user_id = asker.named(ask.user_id) or NOBODY
    end_user = asker.user(user_id) or NOBODY
    return Wish(
        said,
        user_id,
        end_user,
        getattr(ask, "request_id", None) or asker.seen.request_id,
        agent_id=getattr(ask, "agent_id", None) or "",
        session_id=ask.session_id or "",
        files=files,
    )


def admit_turn(asker: Asker, wish: Wish, *, once: bool) -> AdmittedTurn:
    """The turn, with everything read that it needs. `once`: its idempotency key is claimed first.

    Raises AgentNotFound, InvalidInput (a file), `Replayed`, `InFlight`.
    """
    claim = _claimed(asker, wish.end_user) if once else None
    try:
        admitted = _admitted(asker, wish)
    except BaseException:
        if claim:
            claim.release()
        raise
    admitted.claim = claim
    return admitted


def _admitted(asker: Asker, wish: Wish) -> AdmittedTurn:
    actor = asker.actor
    crew = crew_of(actor, mark=asker.formation.generation)
    known = _session_of(actor, wish)
    chosen = _chosen(crew, wish, known)
    agent = chosen or crew.generalist
    session = known or _opened(actor, agent, wish)
    contents = [decoded(file, place) for place, file in enumerate(wish.files)]
    turn = _turn(asker, crew, agent, wish, Place(session, known is None))
    before = stored_history(actor, session) if known else []
    files = _kept(actor, session, wish.files, contents)
    turn.files, turn.history = files, [*before, with_files(wish.said, files)]
    about = About(wish.name, session.external_key, wish.user_id, agent.name)
    return AdmittedTurn(asker, wish, turn, crew, chosen is None, about)


def _kept(
    actor: Actor, session: Session, files: Sequence[InFile], contents: Sequence[bytes]
) -> list[Attachment]:
    """All of them, or none."""
    kept: list[Attachment] = []
    try:
        for file, content in zip(files, contents, strict=True):
            upload = ContentFile(content, file.filename or "file")
            kept.append(store_file(actor, session.pk, upload, mime_type=file.kind[:120]))
    except BaseException:
        discard_files(actor, kept)
        raise
    return kept


def _turn(asker: Asker, crew: Crew, agent: Agent, wish: Wish, place: Place) -> InlineTurn:
    actor, limits = asker.actor, limits_of(asker.formation.config)
    return InlineTurn(
        actor=actor,
        agent=agent,
        preferences=crew.preferences,
        place=place,
        body=None,
        goes_on=not place.is_new,
        history=(),
        said=wish.said,
        parts=None,
        sampling=Sampling(),
        client_tools=(),
        context=prompt_context(actor, agent_id=agent.pk, end_user=wish.end_user),
        asked=Asked(wish.name, wish.webhook),
        makes_room=partial(need_turn_room, actor, limits),
    )


def _session_of(actor: Actor, wish: Wish) -> Session | None:
    if not wish.session_id:
        return None
    return find_by_external_key(actor, MUXI, wish.session_id, end_user=wish.end_user)


def _chosen(crew: Crew, wish: Wish, known: Session | None) -> Agent | None:
    """The agent that is named, else the conversation's, else by their words; None: open."""
    if wish.agent_id:
        return crew.named(wish.agent_id)
    mine = crew.with_key(known.agent_id) if known else None
    return mine or choose(crew, wish.said)


def _opened(actor: Actor, agent: Agent, wish: Wish) -> Session:
    """A conversation of that user; its name is the caller's, or made of its key."""
    title = wish.said.strip()[:TITLE_LENGTH] or "Chat"
    session = opened(actor, agent, title=title, source=MUXI, end_user=wish.end_user)
    session.external_key = wish.session_id or wire_id("sess", session.pk)
    return session


def admit_chat(seen: Credentials, raw: bytes) -> AdmittedTurn:
    """`POST /v1/chat`: prove, parse, claim, find who answers; in that order."""
    asker = enter(seen, muxi_formation.CLIENT, scope=Scope.WRITE)
    ask = parse_chat(raw)
    wish = wish_of(asker, ask, ask.said, files=ask.files or ())
    wish.later = ask.mode == "async"  # which beats streaming
    wish.streams = not wish.later and wants_stream(seen, said=ask.stream)
    wish.as_objects = ask.stream_format == "object"
    wish.patience = ask.threshold_seconds
    if wish.later:
        wish.webhook = webhook_for(asker.formation, ask.webhook_url)
    return admit_turn(asker, wish, once=not wish.streams)


def admit_trigger(seen: Credentials, raw: bytes) -> AdmittedTurn:
    """`POST /v1/triggers/{name}`: its template, filled in, is what is said."""
    asker = enter(seen, muxi_formation.CLIENT, scope=Scope.WRITE)
    name = seen.path.rstrip("/").rpartition("/")[2]
    template = trigger_of(asker.formation, name)
    ask = parse_trigger(raw, seen.query)
    wish = wish_of(asker, ask, rendered(template, ask.data))
    wish.later = bool(ask.use_async)
    if wish.later:
        wish.webhook = webhook_for(asker.formation, None)
    return admit_turn(asker, wish, once=True)


def trigger_of(formation: Running, name: str) -> str:
    """The template of that trigger; InvalidInput for what is no name, TriggerNotFound."""
    if not _TRIGGER.fullmatch(name):
        raise InvalidInput("A trigger's name is made of letters, digits, `_` and `-`.")
    found = (formation.document.get("triggers") or {}).get(name)
    if found is None:
        raise TriggerNotFound(f"There is no trigger {name[:100]!r}.")
    template: str = found["content"]
    return template


def rendered(template: str, data: dict[str, Any]) -> str:
    """The template with `data` in its places; TriggerUnusable names what is missing."""
    try:
        said = render(template, data)
    except BundleError as error:
        raise TriggerUnusable(error.message) from None
    if not said.strip() or len(said) > MAX_CONTENT:
        raise TriggerUnusable(f"What it makes is empty, or longer than {MAX_CONTENT} characters.")
    return said


@dataclass(frozen=True, slots=True)
class Recording:
    """A request of `audiochat` before anybody has listened. `model`: who transcribes."""

    asker: Asker
    ask: AudioAsk
    clips: Sequence[Clip]
    model: str


def admit_recording(seen: Credentials, raw: bytes) -> Recording:
    """`POST /v1/audiochat`: prove, parse, find who listens. Raises NoTranscription."""
    asker = enter(seen, muxi_formation.CLIENT, scope=Scope.WRITE)
    ask = parse_audio(raw)
    clips = [
        Clip(file.filename or "audio", file.kind, decoded(file, place))
        for place, file in enumerate(ask.files)
    ]
    return Recording(asker, ask, clips, _listener_of(asker.formation))


def admit_heard(recording: Recording, said: str) -> AdmittedTurn:
    """The turn that answers what was said in it."""
    asker, ask = recording.asker, recording.ask
    if not said.strip():
        raise Unprocessable("Nothing was understood in the recording.")
    wish = wish_of(asker, ask, said[:MAX_CONTENT])
    wish.streams = wants_stream(asker.seen, said=ask.stream)
    wish.as_objects = ask.stream_format == "object"
    return admit_turn(asker, wish, once=False)


def _listener_of(formation: Running) -> str:
    """The model for speech that the formation's file names, else the installation's."""
    block = formation.config.get("llm")
    models = block.get("models") if isinstance(block, dict) else None
    for item in models if isinstance(models, list) else ():
        named = item.get("audio") if isinstance(item, dict) else None
        if isinstance(named, str) and named:
            return canonical_ref(named)
    if not settings.AUDIO_MODEL:
        raise NoTranscription
    return str(settings.AUDIO_MODEL)


def wants_stream(seen: Credentials, *, said: bool | None) -> bool:
    """As the body says, else as `Accept` does (C7)."""
    return "text/event-stream" in seen.headers.get("accept", "") if said is None else said


# --- Once only ------------------------------------------------------------------------------------
def _claimed(asker: Asker, end_user: str) -> idempotency.Claim | None:
    """The key's claim; None without a key. Raises `Replayed`, `InFlight`."""
    seen = asker.seen
    key = muxi_formation.idempotency_key(seen)
    if key is None:
        return None
    credential = muxi_formation.claimant(seen, asker.actor.workspace_id, end_user)
    try:
        found = idempotency.claim(credential, key, muxi_formation.SAME)
    except IdempotencyConflict:
        raise InFlight(credential, key) from None
    if isinstance(found, idempotency.Claim):
        return found
    raise Replayed(found)


def webhook_for(formation: Running, asked: str | None) -> dict[str, Any] | None:
    """Who is told of a turn that is done later: as asked, else as the formation's file says."""
    block = formation.config.get("async")
    usual = block if isinstance(block, dict) else {}
    url = asked or usual.get("webhook_url")
    if not isinstance(url, str) or not url:
        return None
    return {
        "url": url,
        "formation": formation.slug,
        "retries": int(_bounded(usual.get("webhook_retries"), RETRIES, MOST_RETRIES)),
        "timeout": _bounded(usual.get("webhook_timeout"), TIMEOUT, LONGEST_TIMEOUT),
    }


def _bounded(value: Any, usual: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(max(float(value), 0.0), most) if is_number else usual
