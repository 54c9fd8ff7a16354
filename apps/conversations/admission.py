"""From a proven request for a completion to the turn that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.conversations.brought import history_of, is_lone
from apps.conversations.completions import (
    CompletionRequest,
    as_chat,
    client_tools_of,
    parse_request,
    sampling_of,
)
from apps.conversations.continuing import place_for, speaks_polpo
from apps.conversations.history import as_chat as stored_as_chat
from apps.conversations.inline import InlineTurn
from apps.conversations.models import SessionStatus
from apps.conversations.selectors import recent_messages
from apps.conversations.services.turns import open_turns
from apps.conversations.targets import resolve_wish
from apps.core.actor import Scope
from apps.engine.ports import ChatMessage
from apps.knowledge.selectors import prompt_context
from apps.runs.selectors import said_so_far
from apps.surfaces import openai

if TYPE_CHECKING:
    from apps.conversations.models import Session
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
    limits: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, once the turn has begun: until then another session may take its place."""
        return self.limits | {"x-session-id": self.turn.place.wire_id}


def admit_completion(seen: Credentials, body: bytes) -> Admitted:
    """Prove, throttle, parse, find who answers: in that order. Database work: call it off the loop."""
    caller, home, limits = openai.SURFACE.admit_home(seen)
    request = parse_request(body)
    actor, setup = resolve_wish(
        caller, home, model=request.model, project=request.project, agent=request.agent
    )
    actor.need(Scope.WRITE)
    title = _said(request).strip()[:TITLE_LENGTH] or "Completion"
    asked = seen.headers.get("x-session-id", "")
    place = place_for(actor, asked, request, setup, title=title)
    goes_on = not place.is_new and not speaks_polpo(request) and is_lone(request)
    turn = InlineTurn(
        actor=actor,
        agent=setup.agent,
        preferences=setup.preferences,
        place=place,
        body=body,
        goes_on=goes_on,
        history=history_of(request, stored_history(actor, place.session) if goes_on else ()),
        said=_said(request),
        parts=_image_parts(request),
        sampling=sampling_of(request),
        client_tools=client_tools_of(request),
        context=prompt_context(actor, agent_id=setup.agent.pk),
    )
    return Admitted(turn, request, setup.label, limits)


def stored_history(actor: Actor, session: Session) -> list[ChatMessage]:
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
