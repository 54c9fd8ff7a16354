"""A turn of an end user that nobody's request brings: their application asked for it before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.conversations.asked import Asked
from apps.conversations.continuing import Place, opened
from apps.conversations.inline import InlineTurn
from apps.conversations.models import MUXI
from apps.conversations.overlord import choose, crew_of
from apps.conversations.selectors import find_by_external_key
from apps.conversations.services.requests import accept_turn
from apps.engine.ports import Sampling

if TYPE_CHECKING:
    from apps.conversations.models import TurnRequest
    from apps.core.actor import Actor

LONGEST_TITLE = 200


def ask_later(
    actor: Actor, *, end_user: str, said: str, name: str, key: str, title: str
) -> TurnRequest:
    """Queue a turn that answers `said` in `end_user`'s conversation `key`, which it may open.

    `name` is the request's. Who answers is told by their words alone, and the generalist where those
    leave it open. In the caller's transaction. Raises TurnInProgress, SessionPaused, RequestIdTaken.
    """
    crew = crew_of(actor)
    known = find_by_external_key(actor, MUXI, key, end_user=end_user)
    mine = crew.with_key(known.agent_id) if known else None
    agent = mine or choose(crew, said) or crew.generalist
    session = known or opened(
        actor,
        agent,
        title=title[:LONGEST_TITLE],
        source=MUXI,
        external_key=key,
        end_user=end_user,
    )
    turn = InlineTurn(
        actor=actor,
        agent=agent,
        preferences=crew.preferences,
        place=Place(session, known is None),
        body=None,
        goes_on=known is not None,
        history=(),
        said=said,
        parts=None,
        sampling=Sampling(),
        client_tools=(),
        asked=Asked(name),
    )
    return accept_turn(actor, turn)
