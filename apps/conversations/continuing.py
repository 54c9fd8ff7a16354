"""Which conversation a completion belongs to.

A request speaks as Polpo's clients do when it names no model (or `polpo`), or says `project` or `agent`
(contract/polpo.md §11). Then, without `x-session-id`, it goes on with the caller's newest conversation
of the last half hour, so far as that one rests; and what a model reads is the request alone.

Any other request is an OpenAI client's: it shares nothing with the one before. A conversation that is
gone on with has to be named, by `chat_id` (contract/polyant.md B22) or by `x-session-id`; a lone message
then comes after what is stored.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from apps.conversations.errors import SessionEnded, SessionNotFound
from apps.conversations.models import MUXI, Session, SessionStatus
from apps.conversations.selectors import find_by_external_key, get_session, newest_resting
from apps.core.ids import base62, parse_session_ref, session_wire_id, uuid7

if TYPE_CHECKING:
    from uuid import UUID

    from apps.conversations.completions import CompletionRequest
    from apps.conversations.targets import Setup
    from apps.core.actor import Actor
    from apps.formations.models import Agent

STATELESS = "openai"
POLPO = "polpo"
REOPENED = (STATELESS, POLPO, MUXI)  # conversations that may be gone on with after their end
POLPO_MODELS = frozenset({"", "polpo"})
LONGEST_CHOICE = 60.0  # seconds; a request that died before its turn began
STILL_WARM = timedelta(minutes=30)


@dataclass(slots=True)
class Place:
    """The conversation of a request.

    `joined`: chosen by us, so that another one does as well. `bare`: how the caller spells ids.
    """

    session: Session
    is_new: bool
    joined: bool = False
    bare: bool = False

    @property
    def wire_id(self) -> str:
        session = self.session
        if self.bare:
            return base62(session.pk)
        return session_wire_id(session.workspace_id, session.pk)


def speaks_polpo(request: CompletionRequest) -> bool:
    return bool(request.project or request.agent) or request.model in POLPO_MODELS


def place_for(
    actor: Actor, asked: str, request: CompletionRequest, setup: Setup, *, title: str
) -> Place:
    """The conversation to go on with, or a new one. `asked`: the header `x-session-id`.

    Raises SessionNotFound (a session of another workspace, too), SessionEnded.
    """
    bare = speaks_polpo(request)
    if asked and asked != "new":
        return Place(_named(actor, asked), False, bare=not asked.startswith("ses_") and bare)
    if request.chat_id:
        known = find_by_external_key(actor, STATELESS, request.chat_id)
        made = known or opened(actor, setup.agent, title=title, external_key=request.chat_id)
        return Place(made, known is None)
    if not bare:
        session = opened(actor, setup.agent, title=title)
        session.external_key = str(session.pk) if asked else ""
        return Place(session, True)
    if not asked and (warm := _join(actor, setup)):
        return Place(warm, False, joined=True, bare=True)
    return Place(opened(actor, setup.agent, title=title, source=POLPO), True, bare=True)


# Chosen by a request of this process whose turn has not begun: two at once would meet in one, and the
# later one would begin anew. What another process has chosen is noticed when the turn begins.
_chosen: dict[UUID, float] = {}
_lock = threading.Lock()


def _join(actor: Actor, setup: Setup) -> Session | None:
    """The caller's newest conversation that rests, and is nobody else's now."""
    for _ in range(4):
        with _lock:
            others = list(_chosen)
        warm = newest_resting(actor, setup.agent.pk, within=STILL_WARM, but=others)
        if warm is None:
            return None
        with _lock:
            if warm.pk not in _chosen:
                _chosen[warm.pk] = time.monotonic()
                return warm
    return None


def let_go(place: Place) -> None:
    """The turn has ended, or never begun: another request may go on with its conversation."""
    with _lock:
        _chosen.pop(place.session.pk, None)
        late = time.monotonic() - LONGEST_CHOICE
        for forgotten in [pk for pk, began in _chosen.items() if began < late]:
            del _chosen[forgotten]


def _named(actor: Actor, asked: str) -> Session:
    workspace_id, session_id = parse_session_ref(asked)
    if workspace_id not in (None, actor.workspace_id):
        raise SessionNotFound
    session = get_session(actor, session_id)
    if session.status == SessionStatus.ENDED and session.source not in REOPENED:
        raise SessionEnded
    return session


def opened(
    actor: Actor,
    agent: Agent,
    *,
    title: str,
    source: str = STATELESS,
    external_key: str = "",
    end_user: str = "",
) -> Session:
    """A conversation that has no row yet: it comes into being with its first turn."""
    now = timezone.now()
    return Session(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        user_id=actor.user_id,
        token_id=actor.token_id if source == POLPO else None,
        agent_id=agent.pk,
        source=source,
        external_key=external_key,
        end_user=end_user,
        title=title,
        status=SessionStatus.RUNNING,
        position=now.timestamp(),
    )


def anew(session: Session) -> Session:
    """Another conversation of the same caller, agent and title."""
    return Session(
        id=uuid7(),
        workspace_id=session.workspace_id,
        user_id=session.user_id,
        token_id=session.token_id,
        agent_id=session.agent_id,
        source=session.source,
        title=session.title,
        status=SessionStatus.RUNNING,
        position=timezone.now().timestamp(),
    )
