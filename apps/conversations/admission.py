"""From a proven request for a completion to the turn that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils import timezone

from apps.conversations.brought import history_of, is_lone
from apps.conversations.completions import (
    CompletionRequest,
    as_chat,
    client_tools_of,
    parse_request,
    sampling_of,
)
from apps.conversations.errors import SessionEnded
from apps.conversations.history import as_chat as stored_as_chat
from apps.conversations.inline import SOURCE, InlineTurn
from apps.conversations.models import Session, SessionStatus
from apps.conversations.selectors import find_by_external_key, get_session, recent_messages
from apps.conversations.services.turns import open_turns
from apps.conversations.targets import Setup, resolve_target
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.ids import parse_session_id, session_wire_id, uuid7
from apps.engine.ports import ChatMessage
from apps.runs.selectors import said_so_far
from apps.surfaces import openai

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.surfaces.kit import Credentials

TITLE_LENGTH = 60
LONGEST_URL = 2048  # an image's address is kept; an image in the address is only counted


@dataclass(slots=True)
class Admitted:
    """A request that may be answered. `label` is what the model is called in the answer."""

    turn: InlineTurn
    request: CompletionRequest
    label: str
    headers: dict[str, str]


def admit_completion(seen: Credentials, body: bytes) -> Admitted:
    """Prove, throttle, parse, find who answers: in that order. Database work: call it off the loop."""
    caller, home, headers = openai.SURFACE.admit_home(seen)
    request = parse_request(body)
    actor, setup = resolve_target(caller, home, request.model or request.project)
    actor.need(Scope.WRITE)
    session, is_new = _session_for(actor, seen.headers.get("x-session-id", ""), request, setup)
    goes_on = not is_new and is_lone(request)
    turn = InlineTurn(
        actor=actor,
        agent=setup.agent,
        preferences=setup.preferences,
        session=session,
        is_new=is_new,
        body=body,
        goes_on=goes_on,
        history=history_of(request, _stored(actor, session) if goes_on else ()),
        said=_said(request),
        parts=_image_parts(request),
        sampling=sampling_of(request),
        client_tools=client_tools_of(request),
    )
    headers["x-session-id"] = session_wire_id(session.workspace_id, session.pk)
    return Admitted(turn, request, setup.label, headers)


def _session_for(
    actor: Actor, asked: str, request: CompletionRequest, setup: Setup
) -> tuple[Session, bool]:
    """The conversation to go on with, or a new one.

    `x-session-id` names a session, or `new` for one that can be gone on with; `chat_id` is the
    caller's own name for one (contract/polyant.md B22). Neither: a conversation of this one turn.
    """
    key = request.chat_id
    if asked and asked != "new":
        workspace_id, session_id = parse_session_id(asked)
        if workspace_id not in (None, actor.workspace_id):
            raise InvalidInput("This session belongs to another workspace.", param="x-session-id")
        session = get_session(actor, session_id)
        if session.status == SessionStatus.ENDED and session.source != SOURCE:
            raise SessionEnded
        return session, False
    if key and (known := find_by_external_key(actor, SOURCE, key)):
        return known, False
    session = _new_session(actor, request, setup)
    session.external_key = key or (str(session.pk) if asked == "new" else "")
    return session, True


def _new_session(actor: Actor, request: CompletionRequest, setup: Setup) -> Session:
    now = timezone.now()
    return Session(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        user_id=actor.user_id,
        agent_id=setup.agent.pk,
        source=SOURCE,
        title=_said(request).strip()[:TITLE_LENGTH] or "Completion",
        status=SessionStatus.RUNNING,
        position=now.timestamp(),
    )


def _stored(actor: Actor, session: Session) -> list[ChatMessage]:
    """The transcript; what a waiting turn has said is in it as soon as this request interrupts it."""
    stored = stored_as_chat(recent_messages(session.workspace_id, session.pk))
    if session.status == SessionStatus.WAITING:
        said = [said_so_far(actor, run.pk).text for run in open_turns(actor, session.pk)]
        stored += [ChatMessage("assistant", text) for text in said if text]
    return stored


def _said(request: CompletionRequest) -> str:
    """What the user says in this turn; empty when the turn only brings tool results."""
    last = request.messages[-1]
    return as_chat(last).content if last.role == "user" else ""


def _image_parts(request: CompletionRequest) -> list[dict[str, str]] | None:
    last = as_chat(request.messages[-1])
    if last.role != "user" or not last.images:
        return None
    return [
        {"type": "image", "url": image.url}
        if len(image.url) <= LONGEST_URL
        else {"type": "image", "left_out": f"{len(image.url)} characters"}
        for image in last.images
    ]
