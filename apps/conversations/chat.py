"""What a chat run is: how it is planned, and what its rest means to the session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.approvals.models import ApprovalKind
from apps.approvals.services import request
from apps.conversations.asked import END_USER
from apps.conversations.brought import Brought, WithoutCaller, brought_by
from apps.conversations.events import MessagePosted, SessionChanged
from apps.conversations.history import as_chat, system_message
from apps.conversations.models import REPLACED, Message, MessageRole, Session, SessionStatus
from apps.conversations.selectors import recent_messages
from apps.conversations.services.webhooks import tell_webhook
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.ids import uuid7
from apps.core.rows import execute
from apps.core.tools import ToolContext
from apps.engine.chosen import models_for
from apps.engine.ports import Ending, Limits, Outcome, Sampling, ToolCall, ToolResult
from apps.events import frames
from apps.formations.errors import AgentNotFound
from apps.formations.selectors import get_agent
from apps.formations.toolbox import WorkspaceToolBox
from apps.knowledge.selectors import prompt_context
from apps.runs.kinds import Plan, Rest
from apps.workspaces.preferences import Preferences, read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.engine.ports import ChatMessage
    from apps.formations.models import Agent
    from apps.runs.holding import Hold

AGENT_KEY = "orchestrator"
RESTING = (SessionStatus.WAITING, SessionStatus.PAUSED)
_LOCK = "SELECT 1 FROM conversations_session WHERE workspace_id = %s AND id = %s FOR UPDATE"
MOST_HISTORY = 400
FOREIGN_TOOLS = ["*__*"]  # as the tools of MCP servers are called
ANSWERED = frozenset({Ending.DONE, Ending.HANDED_OVER})
STATES = dict.fromkeys(ANSWERED, "complete") | {Ending.CANCELLED: "interrupted"}
BUDGET_WAIT = 1800.0  # seconds a spent session waits for somebody to allow more (contract §4.2)


class SessionListener:
    """Sends a turn's tokens to whoever watches its session."""

    def __init__(self, session_id: UUID, run_id: UUID) -> None:
        self.session_id, self.run_id = session_id, run_id

    def delta(self, text: str) -> None:
        frames.append(self.session_id, self.run_id, text)

    def call_started(self, call: ToolCall) -> None:
        """The journal publishes the fact: it must survive a reconnect."""

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None:
        """As above."""


@dataclass(slots=True)
class Loaded:
    """What the database says about a turn."""

    agent: Agent | None
    preferences: Preferences
    messages: list[ChatMessage]
    model: str
    fallback: str


class ChatRuns:
    """Handler of `RunKind.CHAT`."""

    agent_key = AGENT_KEY

    async def plan(self, hold: Hold, run_input: dict[str, Any]) -> Plan:
        """Prompt, trimmed history, models and tools of the session's agent."""
        actor = Actor.for_engine(hold.workspace_id, user_id=hold.user_id)
        brought = brought_by(run_input)
        loaded = await db_call(_load, hold, run_input, brought)
        models = await models_for(loaded.model, loaded.fallback, workspace_id=hold.workspace_id)
        agent, prefs = loaded.agent, loaded.preferences
        context = ToolContext(
            actor,
            hold.run_id,
            hold.session_id,
            hold.agent_id,
            key="",
            token_id=hold.token_id,
            end_user=run_input.get(END_USER, ""),
        )
        theirs = brought.client_tools() if brought else ()
        toolbox = await WorkspaceToolBox.open(
            context,
            allowed_tools(agent, prefs, end_user=END_USER in run_input),
            theirs,
            leads=END_USER not in run_input and (agent is None or agent.is_default),
        )
        return Plan(
            actor=actor,
            messages=loaded.messages,
            models=models,
            toolbox=WithoutCaller(toolbox) if theirs else toolbox,
            gate=toolbox.gate(),
            listener=SessionListener(_session_of(hold), hold.run_id),
            sampling=sampling_for(agent, brought.sampling() if brought else Sampling()),
            limits=limits_of(agent, prefs),
        )

    def rested(self, actor: Actor, hold: Hold, outcome: Outcome) -> Rest:
        """Keep what was said, put the session where it belongs."""
        rest = Rest()
        if outcome.ending is Ending.BUDGET:
            rest.waiting_for = _ask_for_more(actor, hold, outcome)
        waits = outcome.ending is Ending.WAITING or rest.waiting_for is not None
        status, is_awaited = _settle_session(hold, outcome, waits=waits)
        if is_awaited:
            tell_webhook(actor, hold.run_id, outcome, asks=rest.waiting_for)
        if not waits:
            _keep_reply(rest, hold, outcome, status)
        if status:
            rest.facts.append(
                SessionChanged(session_id=_session_of(hold), status=status, changed=("status",))
            )
        rest.wakes_next = status == SessionStatus.RUNNING
        return rest

    def lock(self, hold: Hold) -> None:
        """The session stands above its turns."""
        if hold.session_id is not None:
            execute(_LOCK, [hold.workspace_id, hold.session_id])

    def woken(self, actor: Actor, hold: Hold) -> None:
        """The session goes on with its turn."""
        sessions = Session.objects.in_workspace(hold.workspace_id).filter(pk=hold.session_id)
        sessions.filter(status__in=RESTING).update(status=SessionStatus.RUNNING)


def _session_of(hold: Hold) -> UUID:
    if hold.session_id is None:
        raise ValueError("a chat run has a session")
    return hold.session_id


def _load(hold: Hold, run_input: dict[str, Any], brought: Brought | None) -> Loaded:
    actor = Actor.for_engine(hold.workspace_id, user_id=hold.user_id)
    prefs = read_preferences(get_workspace(actor).settings)
    agent = _agent_of(actor, hold)
    history = _brought_history(hold, brought) if brought else _stored_history(hold, prefs)
    context = prompt_context(
        actor, agent_id=agent.pk if agent else None, end_user=run_input.get(END_USER, "")
    )
    return Loaded(
        agent=agent,
        preferences=prefs,
        messages=[system_message(agent, prefs, context), *history],
        model=run_input.get("model") or model_of(agent, prefs),
        fallback=fallback_of(agent, prefs),
    )


def _stored_history(hold: Hold, prefs: Preferences) -> list[ChatMessage]:
    newest = prefs.history_messages if prefs.history == "recent" else MOST_HISTORY
    return as_chat(recent_messages(hold.workspace_id, _session_of(hold), limit=newest))


def _brought_history(hold: Hold, brought: Brought) -> list[ChatMessage]:
    """As the turn read it when its request was there."""
    if brought.before is None:
        return brought.history(())
    rows = recent_messages(hold.workspace_id, _session_of(hold), before=brought.before)
    return brought.history(as_chat(rows))


def _agent_of(actor: Actor, hold: Hold) -> Agent | None:
    """The session's agent; one that was removed meanwhile is as none."""
    if hold.agent_id is None:
        return None
    try:
        return get_agent(actor, hold.agent_id)
    except AgentNotFound:
        return None


def model_of(agent: Agent | None, prefs: Preferences) -> str:
    """Reference of the model to use; empty means the installation's default."""
    return (agent.model if agent else "") or prefs.default_model


def fallback_of(agent: Agent | None, prefs: Preferences) -> str:
    return (agent.fallback_model if agent else "") or prefs.fallback_model


def allowed_tools(
    agent: Agent | None, prefs: Preferences, *, end_user: bool = False
) -> list[str] | None:
    """Names with wildcards; None: all that is enabled; empty: none.

    A turn of an `end_user` has what its agent names, else the tools of MCP servers: those of our own
    read a workspace's files and facts, other end users' among them.
    """
    if not prefs.tools_enabled:
        return []
    named = agent.tools if agent else None
    return FOREIGN_TOOLS if end_user and named is None else named


def sampling_for(agent: Agent | None, asked: Sampling) -> Sampling:
    """As asked; the agent's own temperature where none is."""
    if asked.temperature is not None or agent is None:
        return asked
    return replace(asked, temperature=agent.temperature)


def limits_of(agent: Agent | None, prefs: Preferences) -> Limits:
    """A turn's steps: each model call, and room for the tools it asks for."""
    calls = min(agent.max_turns if agent else prefs.max_turn_steps, prefs.max_turn_steps)
    return Limits(steps=calls * 5)


def _keep_reply(rest: Rest, hold: Hold, outcome: Outcome, status: str) -> None:
    """The assistant's message: its wire id is the run's, as the partial frames already said."""
    if not outcome.text and outcome.ending not in ANSWERED:
        return
    said_at = _said_at(hold, status)
    if said_at is None:
        return
    state = STATES.get(outcome.ending, "failed")
    assert hold.session_id is not None  # a turn has its conversation
    message = Message(
        id=uuid7(),
        workspace_id=hold.workspace_id,
        session_id=hold.session_id,
        wire_id=hold.run_id,
        role=MessageRole.ASSISTANT,
        content=outcome.text.replace("\x00", ""),
        agent_key=AGENT_KEY,
        run_id=hold.run_id,
        state=state,
        created_at=said_at,
    )
    rest.rows.append(message)
    rest.facts.append(
        MessagePosted(
            session_id=_session_of(hold),
            message_id=message.pk,
            role=message.role,
            agent_key=AGENT_KEY,
            state=state,
            run_id=hold.run_id,
        )
    )


def _said_at(hold: Hold, status: str) -> datetime | None:
    """Now; what was cut short stands before what cut it short; None: it answered what was replaced."""
    if status not in (SessionStatus.RUNNING, SessionStatus.PAUSED):
        return timezone.now()
    asked = execute(
        "SELECT cancel_requested_at, cancel_reason FROM runs_run WHERE workspace_id = %s AND id = %s",
        [hold.workspace_id, hold.run_id],
    )
    moment, reason = asked[0] if asked else (None, "")
    return None if reason == REPLACED else moment or timezone.now()


# A completion that names no conversation to go on with is one of this one turn: it ends with it.
_SETTLE = """UPDATE conversations_session AS s SET tokens_used = tokens_used + %(used)s,
       last_active_at = now(), updated_at = now(),
       status = CASE
         WHEN status IN ('ended', 'paused') THEN status
         WHEN %(waits)s THEN %(rest)s
         WHEN source = 'openai' AND external_key = '' THEN 'ended'
         WHEN EXISTS (SELECT 1 FROM runs_run r WHERE r.workspace_id = s.workspace_id
                      AND r.session_id = s.id AND r.status = 'queued') THEN 'running'
         ELSE 'idle' END,
       end_reason = CASE WHEN status NOT IN ('ended', 'paused') AND NOT %(waits)s
         AND source = 'openai' AND external_key = '' THEN 'completed' ELSE end_reason END,
       ended_at = CASE WHEN status NOT IN ('ended', 'paused') AND NOT %(waits)s
         AND source = 'openai' AND external_key = '' THEN now() ELSE ended_at END
 WHERE workspace_id = %(workspace)s AND id = %(session)s
RETURNING status, source = 'muxi' AND EXISTS (SELECT 1 FROM conversations_turnrequest t
   WHERE t.workspace_id = s.workspace_id AND t.run_id = %(run)s AND t.webhook IS NOT NULL)"""


def _settle_session(hold: Hold, outcome: Outcome, *, waits: bool) -> tuple[str, bool]:
    """Idle, waiting, paused by a spent budget, or running on with the message that interrupted.

    And whether a webhook waits for this turn.
    """
    used = 0 if waits else _used(outcome)  # the turn's end tells the whole of it
    rest = SessionStatus.PAUSED if outcome.ending is Ending.BUDGET else SessionStatus.WAITING
    values = {"used": used, "waits": waits, "rest": rest}
    where = {"workspace": hold.workspace_id, "session": hold.session_id, "run": hold.run_id}
    rows = execute(_SETTLE, values | where)
    return rows[0] if rows else ("", False)


def _used(outcome: Outcome) -> int:
    return outcome.usage.tokens_in + outcome.usage.tokens_out


def _ask_for_more(actor: Actor, hold: Hold, outcome: Outcome) -> UUID | None:
    """A session's budget that refuses a call asks for more; a run's own limits are final.

    Another budget (a workspace's, a token's) may be the one that refused: then the answer changes
    nothing, and the turn asks again.
    """
    session = Session.objects.in_workspace(hold.workspace_id).filter(pk=hold.session_id).first()
    if session is None or not session.token_budget or outcome.code != "budget_exceeded":
        return None
    used = session.tokens_used + _used(outcome)
    return request(
        actor,
        kind=ApprovalKind.BUDGET,
        action=f"Session “{session.title}” has spent its budget of {session.token_budget} tokens.",
        context={"tokens_used": used, "token_budget": session.token_budget},
        subject_type="run",
        subject_id=hold.run_id,
        session_id=hold.session_id,
        expires_in=BUDGET_WAIT,
    ).pk
