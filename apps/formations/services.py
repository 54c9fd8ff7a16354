"""Agents: make, change, remove. Every workspace has a default one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from apps.accounts.audit import record_change
from apps.core.actor import Actor, Scope
from apps.core.errors import InvalidInput
from apps.events.services import publish
from apps.formations.errors import AgentNameTaken, AgentNotFound, DefaultAgentStays, TooMany
from apps.formations.events import AgentCreated, AgentDeleted, AgentUpdated
from apps.formations.means import (
    accept_mcp_tools,
    add_mcp_server,
    remove_mcp_server,
    set_tool,
    update_mcp_server,
)
from apps.formations.models import Agent
from apps.formations.policy import forget_policy
from apps.formations.selectors import default_agent, find_agent, get_agent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

__all__ = [
    "accept_mcp_tools",
    "add_mcp_server",
    "create_agent",
    "delete_agent",
    "ensure_default_agent",
    "forget_policy",
    "remove_mcp_server",
    "set_tool",
    "update_agent",
    "update_mcp_server",
]

DEFAULT_NAME = "orchestrator"
MAX_AGENTS = 500  # a workspace
MAX_PROMPT = 100_000  # characters
MAX_TOOLS = 200
MAX_TURNS = 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}")
FIELDS = (
    "name",
    "role",
    "model",
    "fallback_model",
    "system_prompt",
    "tools",
    "temperature",
    "max_turns",
    "is_default",
    "metadata",
)


def create_agent(actor: Actor, *, name: str, **fields: Any) -> Agent:
    """`fields`: any of `FIELDS`; what is not given has the model's default.

    Raises InvalidInput (also for an unknown field), AgentNameTaken, TooMany.
    """
    actor.need(Scope.WRITE)
    _check_names(fields)
    agent = Agent(workspace_id=actor.workspace_id, name=name, **fields)
    _check(agent)
    if Agent.objects.in_workspace(actor.workspace_id).count() >= MAX_AGENTS:
        raise TooMany
    with transaction.atomic():
        _save(actor, agent, force_insert=True)
        record_change(actor, "agent.created", "agent", agent.id, before=None, after=_shown(agent))
        publish(actor, AgentCreated(agent_id=agent.id, agent_name=agent.name))
    return agent


def update_agent(actor: Actor, agent_id: UUID, **changes: Any) -> Agent:
    """Change the fields of `FIELDS` that are given.

    Raises AgentNotFound, InvalidInput (also for an unknown field), AgentNameTaken, DefaultAgentStays.
    """
    actor.need(Scope.WRITE)
    _check_names(changes)
    with transaction.atomic():
        agent = _locked(actor, agent_id)
        before = _shown(agent)
        if agent.is_default and changes.get("is_default") is False:
            raise DefaultAgentStays
        for field, value in changes.items():
            setattr(agent, field, value)
        _check(agent)
        after = _shown(agent)
        changed = [field for field in FIELDS if before[field] != after[field]]
        if not changed:
            return agent
        _save(actor, agent)
        record_change(actor, "agent.updated", "agent", agent.id, before=before, after=after)
        publish(actor, AgentUpdated(agent_id=agent.id, agent_name=agent.name, changed=changed))
    return agent


def delete_agent(actor: Actor, agent_id: UUID) -> None:
    """Raises AgentNotFound, DefaultAgentStays."""
    actor.need(Scope.WRITE)
    with transaction.atomic():
        agent = _locked(actor, agent_id)
        if agent.is_default:
            raise DefaultAgentStays
        before, id_ = _shown(agent), agent.id
        agent.delete()
        record_change(actor, "agent.deleted", "agent", id_, before=before, after=None)
        publish(actor, AgentDeleted(agent_id=id_, agent_name=before["name"]))


def ensure_default_agent(actor: Actor) -> Agent:
    """The default agent, made now if the workspace has none. Safe to race, and for readers too."""
    try:
        return default_agent(actor)
    except AgentNotFound:
        pass
    system = Actor.for_system(actor.workspace_id)
    try:
        return _promote_or_create(system)
    except (AgentNameTaken, IntegrityError):  # another request made it a moment ago
        return default_agent(actor)


def _promote_or_create(system: Actor) -> Agent:
    try:
        named = find_agent(system, DEFAULT_NAME)
    except AgentNotFound:
        return create_agent(
            system,
            name=DEFAULT_NAME,
            role="Answers, plans and delegates",
            is_default=True,
        )
    return update_agent(system, named.id, is_default=True)


def _locked(actor: Actor, agent_id: UUID) -> Agent:
    get_agent(actor, agent_id)
    rows = Agent.objects.in_workspace(actor.workspace_id).select_for_update()
    agent: Agent | None = rows.filter(id=agent_id).first()
    if agent is None:
        raise AgentNotFound
    return agent


def _save(actor: Actor, agent: Agent, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            if agent.is_default:
                others = Agent.objects.in_workspace(actor.workspace_id).exclude(id=agent.id)
                others.filter(is_default=True).update(is_default=False)
            agent.save(force_insert=force_insert)
    except IntegrityError as error:
        if "agent_name_once" in str(error):
            raise AgentNameTaken from None
        raise


def _shown(agent: Agent) -> dict[str, Any]:
    return {field: getattr(agent, field) for field in FIELDS}


def _check_names(given: Mapping[str, Any]) -> None:
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise InvalidInput(fields={name: ["Unknown field."] for name in unknown})


def _check(agent: Any) -> None:
    """The agent before it is saved: its fields hold whatever the caller gave."""
    problems: dict[str, list[str]] = {}
    if not isinstance(agent.name, str) or not NAME.fullmatch(agent.name):
        problems["name"] = [
            "1 to 100 letters, digits, spaces and ._- beginning with a letter or digit."
        ]
    limits = {"role": 500, "model": 200, "fallback_model": 200, "system_prompt": MAX_PROMPT}
    for field, longest in limits.items():
        value = getattr(agent, field)
        if not isinstance(value, str) or len(value) > longest or "\x00" in value:
            problems[field] = [f"Must be text of at most {longest} characters."]
    if not _is_tool_list(agent.tools):
        problems["tools"] = [f"Must be null or a list of at most {MAX_TOOLS} tool names."]
    warmth = agent.temperature
    if warmth is not None and not (_is_number(warmth) and 0 <= warmth <= 2):
        problems["temperature"] = ["Must be between 0 and 2."]
    if type(agent.max_turns) is not int or not 1 <= agent.max_turns <= MAX_TURNS:
        problems["max_turns"] = [f"Must be between 1 and {MAX_TURNS}."]
    if not isinstance(agent.is_default, bool):
        problems["is_default"] = ["Must be true or false."]
    if not isinstance(agent.metadata, dict) or len(str(agent.metadata)) > MAX_PROMPT:
        problems["metadata"] = ["Must be an object of moderate size."]
    if problems:
        raise InvalidInput(fields=problems)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_tool_list(tools: Any) -> bool:
    if tools is None:
        return True
    return (
        isinstance(tools, list)
        and len(tools) <= MAX_TOOLS
        and all(isinstance(tool, str) and 0 < len(tool) <= 120 for tool in tools)
    )
