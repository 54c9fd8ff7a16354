"""From a proven request for a completion to the turn that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from apps.conversations.selectors import recent_messages
from apps.conversations.targets import resolve_wish
from apps.core.actor import Scope
from apps.knowledge.selectors import prompt_context
from apps.surfaces import openai

if TYPE_CHECKING:
    from apps.conversations.models import Session
    from apps.engine.ports import ChatMessage
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
    turn = InlineTurn(
        actor=actor,
        agent=setup.agent,
        preferences=setup.preferences,
        place=place,
        history=_history(request, place.session, alone=place.is_new or speaks_polpo(request)),
        said=_said(request),
        parts=_image_parts(request),
        sampling=sampling_of(request),
        client_tools=client_tools_of(request),
        context=prompt_context(actor, agent_id=setup.agent.pk),
    )
    return Admitted(turn, request, setup.label, limits)


def _history(request: CompletionRequest, session: Session, *, alone: bool) -> list[ChatMessage]:
    """The request's own messages; where it does not stand `alone`, a lone one is put after the stored."""
    sent = [as_chat(message) for message in request.messages]
    if alone or sum(message.role != "system" for message in sent) > 1:
        return sent
    stored = stored_as_chat(recent_messages(session.workspace_id, session.pk))
    return (
        [m for m in sent if m.role == "system"] + stored + [m for m in sent if m.role != "system"]
    )


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
