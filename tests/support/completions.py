"""A completion of the openai surface, without its socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.conversations.continuing import Place
from apps.conversations.inline import InlineJournal, InlineTurn, live_run
from apps.core.actor import Actor
from apps.engine.ports import Sampling
from apps.formations.services import ensure_default_agent
from apps.workspaces.preferences import Preferences

if TYPE_CHECKING:
    from apps.conversations.models import Session

BODY = b'{"messages": [{"role": "user", "content": "Never mind"}]}'


def completion_in(actor: Actor, session: Session) -> InlineJournal:
    """A completion that names this known session: its journal before the first step."""
    turn = InlineTurn(
        actor=actor,
        agent=ensure_default_agent(Actor.for_engine(actor.workspace_id)),
        preferences=Preferences(),
        place=Place(session, is_new=False),
        body=BODY,
        goes_on=True,
        history=[],
        said="Never mind",
        parts=None,
        sampling=Sampling(),
        client_tools=(),
    )
    return InlineJournal(turn, live_run(turn))
