"""Who answers a turn of a formation (contract/muxi.md §5.5).

The agent that is named; else the one the conversation is with; else by what the agents are for. One
agent besides the generalist answers everything. Among several, words decide: keywords, domain, name,
then what their descriptions say. Only where those leave it open a model is asked, once and in a few
hundred tokens; whatever goes wrong with that, the generalist answers.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.conversations.chat import fallback_of, model_of
from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.engine.chosen import models_for
from apps.engine.ports import (
    ChatMessage,
    Finished,
    ModelRequest,
    ProviderFailed,
    Sampling,
    Spend,
    TextDelta,
    Usage,
)
from apps.formations.errors import AgentNotFound
from apps.formations.selectors import MOST_AGENTS, list_agents
from apps.formations.services import ensure_default_agent
from apps.runs import budgets
from apps.workspaces.preferences import Preferences, read_preferences
from apps.workspaces.selectors import get_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.engine.ports import ModelChoice
    from apps.formations.models import Agent
    from apps.runs.holding import Hold

log = logging.getLogger(__name__)

FRESH = 2.0  # seconds a change of an agent may take to reach the next turn
MOST_CREWS = 2_000
CLEAR = 2  # the least a winner must have
AHEAD = 1.5  # and how many times the second's
MOST_ASKED = 40  # agents in the question to a model
SHOWN = 200  # characters of each of them
HEARD = 2_000  # characters of the message in it
ANSWER_TOKENS = 24
ASK_SECONDS = 10.0
KEYWORD, DOMAIN, NAME, MENTION = 3.0, 2.0, 3.0, 0.5
_WORD = re.compile(r"\w{3,}")
_EMPTY = frozenset(
    [
        "the",
        "and",
        "for",
        "with",
        "that",
        "this",
        "from",
        "are",
        "was",
        "you",
        "your",
        "can",
        "will",
        "what",
        "how",
        "who",
        "why",
        "when",
        "where",
        "please",
        "help",
        "agent",
        "assistant",
        "questions",
        "answers",
        "about",
        "into",
        "not",
        "all",
        "any",
        "our",
        "their",
        "its",
    ]
)
QUESTION = (
    "You choose which agent answers a user's message. Reply with the id of the one agent that fits "
    "best, and nothing else. Reply generalist when none of them fits.\n\nAgents:\n{agents}"
)


@dataclass(frozen=True)
class Crew:
    """The agents of a formation that are at work, and what its home has chosen."""

    agents: tuple[Agent, ...]
    preferences: Preferences
    generalist: Agent

    @cached_property
    def specialists(self) -> tuple[Agent, ...]:
        return tuple(agent for agent in self.agents if not agent.is_default)

    def named(self, name: str) -> Agent:
        """By id, whatever its case; AgentNotFound."""
        wanted = name.lower()
        for agent in self.agents:
            if agent.name.lower() == wanted:
                return agent
        raise AgentNotFound(f"There is no agent {name[:100]!r}.")

    def with_key(self, agent_id: UUID | None) -> Agent | None:
        return next((agent for agent in self.agents if agent.pk == agent_id), None)


_crews: dict[tuple[UUID, Any], tuple[float, Crew]] = {}
_lock = threading.Lock()


def crew_of(actor: Actor, *, mark: Any = None) -> Crew:
    """The crew of the actor's workspace, remembered two seconds. `mark`: a change of it forgets."""
    key = (actor.workspace_id, mark)
    known = _crews.get(key)
    if known and time.monotonic() - known[0] < FRESH:
        return known[1]
    found = list(list_agents(actor)[:MOST_AGENTS])
    agents = tuple(agent for agent in found if agent.is_default or is_active(agent))
    generalist = next((agent for agent in agents if agent.is_default), None)
    made = Crew(
        agents,
        read_preferences(get_workspace(actor).settings),
        generalist or ensure_default_agent(actor),
    )
    with _lock:
        if len(_crews) >= MOST_CREWS:
            _crews.clear()
        _crews[key] = (time.monotonic(), made)
    return made


def forget_crews() -> None:
    """Read everything anew (tests)."""
    with _lock:
        _crews.clear()


def is_active(agent: Agent) -> bool:
    """A formation's file may switch an agent off."""
    return bool(_item(agent).get("active", True))


def choose(crew: Crew, message: str) -> Agent | None:
    """Who answers, by their words alone; None when those leave it open."""
    if not crew.specialists:
        return crew.generalist
    if len(crew.specialists) == 1:
        return crew.specialists[0]
    ranked = sorted(((_score(a, message), a) for a in crew.specialists), key=lambda pair: -pair[0])
    (best, first), (second, _) = ranked[:2]
    return first if best >= CLEAR and best >= AHEAD * second else None


def _score(agent: Agent, message: str) -> float:
    text, words = message.lower(), _words(message)
    special = _item(agent).get("specialization")
    special = special if isinstance(special, dict) else {}
    keywords = [str(word).lower() for word in special.get("keywords") or () if word]
    score = KEYWORD * sum(_hits(word, text, words) for word in keywords)
    score += DOMAIN * len(_words(str(special.get("domain", ""))) & words)
    score += NAME * bool(_words(agent.name.replace("-", " ").replace("_", " ")) & words)
    about = f"{agent.role} {_item(agent).get('description', '')}"
    return score + MENTION * len(_words(about) & words)


def _hits(keyword: str, text: str, words: frozenset[str]) -> bool:
    """A phrase stands in the text as it is; a word as a word, or as its plural."""
    if not re.fullmatch(r"\w+", keyword):
        return keyword in text
    return keyword in words or f"{keyword}s" in words or keyword.removesuffix("s") in words


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _EMPTY


def _item(agent: Agent) -> dict[str, Any]:
    """The agent as the formation's file has it."""
    found = agent.metadata.get("muxi")
    return found if isinstance(found, dict) else {}


# --- Asking a model -------------------------------------------------------------------------------
async def ask_model(crew: Crew, message: str, hold: Hold) -> Agent:
    """The agent that a small model call names; the generalist when it names none, or fails."""
    asked = crew.specialists[:MOST_ASKED]
    try:
        models = await models_for(
            model_of(crew.generalist, crew.preferences),
            fallback_of(crew.generalist, crew.preferences),
        )
        async with asyncio.timeout(ASK_SECONDS):
            name = await _answer(models[0], asked, message, hold)
    except (ProviderFailed, DomainError, TimeoutError) as error:
        log.warning("no model chose an agent (%s): the generalist answers", type(error).__name__)
        return crew.generalist
    return next((agent for agent in asked if agent.name.lower() == name), crew.generalist)


async def _answer(model: ModelChoice, agents: Sequence[Agent], message: str, hold: Hold) -> str:
    """What the model says, as an id; "" when the budget does not allow the question."""
    request = _question(model, agents, message)
    size = sum(len(said.content) for said in request.messages)
    worst = Spend(size + ANSWER_TOKENS, model.cost_micros(Usage(size, ANSWER_TOKENS)))
    promised = await db_call(_reserve, hold, worst)
    if promised is False:
        return ""
    said, real = "", worst
    try:
        async with aclosing(model.provider.stream(request)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextDelta):
                    said += event.text
                elif isinstance(event, Finished):
                    used = event.usage
                    real = Spend(used.tokens_in + used.tokens_out, model.cost_micros(used))
    finally:
        if promised:
            await asyncio.shield(db_call(_settle, hold, worst, real))
    found = re.search(r"[\w.-]+", said.lower())
    return found[0].strip(".") if found else ""


def _question(model: ModelChoice, agents: Sequence[Agent], message: str) -> ModelRequest:
    lines = "\n".join(f"- {agent.name}: {_about(agent)}" for agent in agents)
    asked = [
        ChatMessage("system", QUESTION.format(agents=lines)),
        ChatMessage("user", message[:HEARD]),
    ]
    sampling = Sampling(temperature=0.0, max_tokens=ANSWER_TOKENS)
    return ModelRequest(model.model, asked, sampling=sampling, timeout=ASK_SECONDS)


def _about(agent: Agent) -> str:
    item = _item(agent)
    special = item.get("specialization")
    keywords = special.get("keywords") if isinstance(special, dict) else None
    known = ", ".join(str(word) for word in keywords or ())
    about = " ".join(filter(None, (str(item.get("description", "")) or agent.role, known)))
    return about[:SHOWN].replace("\n", " ")


@transaction.atomic
def _reserve(hold: Hold, worst: Spend) -> bool | None:
    return budgets.reserve(hold, worst)


@transaction.atomic
def _settle(hold: Hold, worst: Spend, real: Spend) -> None:
    budgets.settle(hold, worst, real)
