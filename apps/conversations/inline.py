"""A turn carried by the request itself: the openai surface's completions.

The run, its session and the user's message come into being with the first reservation, in one
transaction; so a refused budget leaves nothing behind. The process that took the request holds the run;
if the client goes, the turn is cancelled, and if the process dies, the sweep marks it `interrupted`.
Once it has waited for a human it is a turn like others: any worker goes on with it (see `brought`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.conversations.asked import (
    END_USER,
    attached,
    hindrance,
    named_files,
    need_rest,
    request_row,
)
from apps.conversations.brought import keep_request
from apps.conversations.chat import (
    AGENT_KEY,
    allowed_tools,
    fallback_of,
    limits_of,
    model_of,
    sampling_for,
)
from apps.conversations.continuing import REOPENED, STATELESS, anew, let_go
from apps.conversations.errors import (
    SessionEnded,
    SessionPaused,
    TurnInProgress,
)
from apps.conversations.events import MessagePosted, SessionChanged, SessionCreated
from apps.conversations.history import system_message
from apps.conversations.listening import TokenListener
from apps.conversations.models import Message, MessageRole, Session, SessionStatus
from apps.conversations.services.sessions import lock_session
from apps.conversations.services.turns import cancel_turns, lock_turns
from apps.core.aio import db_call
from apps.core.ids import uuid7
from apps.core.rows import execute, insert
from apps.core.tools import ToolContext
from apps.engine.chosen import models_for
from apps.engine.ports import Go, Spend
from apps.events.services import publish
from apps.formations.toolbox import WorkspaceToolBox
from apps.runs import budgets
from apps.runs.events import RunStarted
from apps.runs.holding import Hold, owner_name
from apps.runs.journal import ASKING, RunJournal
from apps.runs.kinds import Plan
from apps.runs.models import Run, RunKind, RunStatus
from apps.runs.runner import LiveRun, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from django.db.models import Model

    from apps.conversations.asked import Asked
    from apps.conversations.continuing import Place
    from apps.conversations.models import Attachment
    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.engine.ports import (
        ChatMessage,
        Outcome,
        Sampling,
        StepRecord,
        ToolSpec,
    )
    from apps.formations.models import Agent
    from apps.workspaces.preferences import Preferences


_TAKE = """UPDATE conversations_session SET status = 'running', last_active_at = now()
 WHERE workspace_id = %s AND id = %s AND status = 'idle' AND deleted_at IS NULL RETURNING id"""


@dataclass(slots=True)
class InlineTurn:
    """One completion to be made. `session` has no row yet when `is_new`.

    `history` is what the request (its `body`) brought, after what is stored if `goes_on`. No body:
    what it brought is stored whole, `files` (whose bytes are) among it. `context`: what is remembered,
    for the prompt. `asked`: how an end user's application asks for this turn. `makes_room`: called in
    the transaction in which the turn begins, to refuse it.
    """

    actor: Actor
    agent: Agent
    preferences: Preferences
    place: Place
    body: bytes | None
    goes_on: bool
    history: Sequence[ChatMessage]
    said: str
    parts: list[dict[str, str]] | None
    sampling: Sampling
    client_tools: Sequence[ToolSpec]
    context: str = ""
    files: Sequence[Attachment] = ()
    asked: Asked | None = None
    makes_room: Callable[[], None] | None = None
    run_id: UUID = field(default_factory=uuid7)

    @property
    def session(self) -> Session:
        return self.place.session

    @property
    def is_new(self) -> bool:
        return self.place.is_new

    @property
    def marks(self) -> dict[str, Any]:
        """What the run keeps of it as long as it is open."""
        return {END_USER: self.session.end_user} if self.session.end_user else {}


class InlineJournal(RunJournal):
    """Opens the run with its first step; afterwards an ordinary journal.

    A turn of a known session that rests (it waits for a human or for a worker) is interrupted, as by
    any message. One that runs would take a step to stop, and this one begins now: TurnInProgress.
    """

    def __init__(self, turn: InlineTurn, live: LiveRun) -> None:
        super().__init__(turn.actor, live.hold)
        self._turn, self._live, self.opened = turn, live, False
        self._asked_at = timezone.now()

    async def begin(self, index: int, worst: Spend) -> Go:
        if self.opened:
            return await super().begin(index, worst)
        go = await db_call(self._open, worst)
        if go is Go.ON:
            self.opened = True
            self.hold = self._live.hold = replace(self.hold, attempt=1)
        return go

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None:
        if self.opened:
            await super().record(step, outcome)

    async def close(self, outcome: Outcome) -> None:
        if self.opened:
            await super().close(outcome)

    def _open(self, worst: Spend) -> Go:
        try:
            return self._open_rows(worst)
        except IntegrityError as error:
            raise hindrance(error) from None

    @transaction.atomic
    def _open_rows(self, worst: Spend) -> Go:
        turn, session = self._turn, self._turn.session
        if turn.makes_room:
            turn.makes_room()
        resting: list[Run] = []
        if turn.place.joined:
            self._take(session)
        elif not turn.is_new:  # locked before the budgets, as everywhere
            resting = self._lock_known(session)
        elif session.external_key or session.source != STATELESS:  # it may be gone on with
            budgets.cap_session(turn.actor, session.pk, turn.preferences)
        promised = budgets.reserve(self.hold, worst)
        if promised is False:
            transaction.set_rollback(True)
            return Go.BUDGET
        self.reserved = worst if promised else Spend()
        if resting:  # before the message's own time: what it cuts short stands before it
            cancel_turns(turn.actor, session.pk, reason="interrupted")
        self._asked_at = timezone.now()
        facts: list[Fact] = []
        rows: list[Model] = []
        if turn.is_new:
            rows.append(session)
            facts.append(
                SessionCreated(session_id=session.pk, title=session.title, source=session.source)
            )
        else:
            facts.append(self._reopened(session))
        if turn.said or turn.parts or turn.files:
            rows += [message := self._message(), *turn.files]
            facts += [_posted(message), *map(attached, turn.files)]
        facts.append(RunStarted(run_id=turn.run_id, session_id=session.pk, kind="chat", attempt=1))
        # Nobody has been told of this turn yet, and its end, which is told, waits for the disk. An
        # interruption is told now.
        rows.append(self._run())
        if turn.asked:
            rows.append(request_row(session, turn.run_id, turn.asked))
        insert(*rows, eventual=not resting)
        publish(turn.actor, *facts)
        return Go.ON

    def _take(self, session: Session) -> None:
        """A conversation that we chose runs again, if it still rests; else another one does as well."""
        if not execute(_TAKE, [session.workspace_id, session.pk]):
            raise TurnInProgress

    def _lock_known(self, session: Session) -> list[Run]:
        """The known session and its turns that rest, locked; refused if it may not be gone on with.

        It may have been paused, ended or deleted since it was found. One of this surface that has
        ended may be gone on with.
        """
        now = lock_session(self._turn.actor, session.pk)
        if now.status == SessionStatus.PAUSED:
            raise SessionPaused
        if now.status == SessionStatus.ENDED and now.source not in REOPENED:
            raise SessionEnded
        turns = lock_turns(self._turn.actor, session.pk)
        need_rest(turns, accepted=self._turn.asked is not None)
        return turns

    def _reopened(self, session: Session) -> SessionChanged:
        first = {} if session.agent_id else {"agent_id": self._turn.agent.pk}
        Session.objects.in_workspace(session.workspace_id).filter(pk=session.pk).update(
            **first,
            status=SessionStatus.RUNNING,
            last_active_at=timezone.now(),
            end_reason="",
            ended_at=None,
        )
        return SessionChanged(
            session_id=session.pk, status=SessionStatus.RUNNING, changed=("status",)
        )

    @transaction.atomic
    def _close(self, outcome: Outcome) -> None:
        """A turn that waits is gone on with by a worker: it keeps what its request brought."""
        super()._close(outcome)
        if outcome.ending in ASKING:
            before = self._asked_at if self._turn.goes_on else None
            runs = Run.objects.in_workspace(self.hold.workspace_id).filter(pk=self.hold.run_id)
            runs.filter(status__in=[RunStatus.WAITING, RunStatus.QUEUED]).update(
                input=keep_request(self._turn.body, before=before)
                if self._turn.body
                else self._turn.marks
            )

    def _message(self) -> Message:
        row_id = uuid7()
        return Message(
            id=row_id,
            workspace_id=self.hold.workspace_id,
            session_id=self._turn.session.pk,
            wire_id=row_id,
            role=MessageRole.USER,
            content=self._turn.said,
            parts=self._turn.parts,
            metadata=named_files(self._turn.files),
            user_id=self.hold.user_id,
            created_at=self._asked_at,
        )

    def _run(self) -> Run:
        now = timezone.now()
        return Run(
            id=self._turn.run_id,
            workspace_id=self.hold.workspace_id,
            kind=RunKind.CHAT,
            status=RunStatus.RUNNING,
            session_id=self._turn.session.pk,
            agent_id=self.hold.agent_id,
            user_id=self.hold.user_id,
            token_id=self.hold.token_id,
            input={"inline": True, **self._turn.marks},
            lease_owner=self.hold.owner,
            lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
            attempt=1,
            reserved_tokens=self.reserved.tokens,
            reserved_cost_micros=self.reserved.cost_micros,
            reserved_tool_calls=self.reserved.tool_calls,
            request_id=self._turn.actor.request_id,
            started_at=now,
        )


def _posted(message: Message) -> MessagePosted:
    return MessagePosted(
        session_id=message.session_id,
        message_id=message.pk,
        role=message.role,
        agent_key=AGENT_KEY,
    )


def live_run(turn: InlineTurn) -> LiveRun:
    """The turn's place in the runner; attempt 0 until its row exists, so that nobody renews it."""
    actor, agent = turn.actor, turn.agent
    hold = Hold(
        actor.workspace_id,
        turn.run_id,
        "chat",
        owner_name(),
        0,
        turn.session.pk,
        agent.pk,
        actor.token_id,
        actor.user_id,
    )
    return LiveRun(hold)


async def carry_out(
    turn: InlineTurn, live: LiveRun, on_news: Callable[[str | dict[str, Any]], None]
) -> Outcome:
    """Run the turn to its rest. Raises DomainError where nothing could be begun.

    A conversation that we chose may be taken by another request before this one begins: then this
    one opens its own.
    """
    place = turn.place
    try:
        return await _carry(turn, live, on_news)
    except (TurnInProgress, SessionEnded, SessionPaused):
        if not place.joined:
            raise
    finally:
        if place.joined:
            let_go(place)
    session = anew(turn.session)
    turn.place = replace(turn.place, session=session, is_new=True, joined=False)
    live.hold = replace(live.hold, session_id=session.pk)
    return await _carry(turn, live, on_news)


async def _carry(
    turn: InlineTurn, live: LiveRun, on_news: Callable[[str | dict[str, Any]], None]
) -> Outcome:
    plan = await _plan(turn, on_news)
    return await drive(live.hold, plan, InlineJournal(turn, live), live=live)


async def _plan(turn: InlineTurn, on_news: Callable[[str | dict[str, Any]], None]) -> Plan:
    agent, prefs = turn.agent, turn.preferences
    models = await models_for(
        model_of(agent, prefs),
        fallback_of(agent, prefs),
        workspace_id=turn.actor.workspace_id,
    )
    actor = turn.actor
    context = ToolContext(
        actor,
        turn.run_id,
        turn.session.pk,
        agent.pk,
        key="",
        token_id=actor.token_id,
        end_user=turn.session.end_user,
    )
    toolbox = await WorkspaceToolBox.open(
        context,
        allowed_tools(agent, prefs, end_user=bool(turn.marks)),
        turn.client_tools,
        leads=agent.is_default and not turn.marks,
        hands_over=True,
    )
    return Plan(
        actor=turn.actor,
        messages=[system_message(agent, prefs, turn.context), *turn.history],
        models=models,
        toolbox=toolbox,
        gate=toolbox.gate(),
        listener=TokenListener(turn.session.pk, turn.run_id, on_news),
        sampling=sampling_for(agent, turn.sampling),
        limits=limits_of(agent, prefs),
        client_tools=turn.client_tools,
    )
