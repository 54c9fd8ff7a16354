"""Agents made, changed and removed by a running formation's admin (contract/muxi.md §5.9).

The next version of the file brings its own agents anew and leaves these alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.actor import Actor, Scope
from apps.core.checks import wrong
from apps.core.errors import NotFound
from apps.formations import registry
from apps.formations.described import (
    API,
    KEY,
    complaining,
    fields_of,
    secrets_in,
    server_slugs,
    source_of,
    written_of,
)
from apps.formations.errors import AgentOfFormation
from apps.formations.locks import lock_agents
from apps.formations.selectors import find_agent, list_mcp_servers
from apps.formations.services.agents import create_agent, delete_agent, update_agent
from apps.workspaces.keeping import lock_secrets
from apps.workspaces.vault import opened_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.formations.models import Agent

# Which field of the row follows which of the item.
CHANGES = {
    "name": ("identity",),
    "role": ("role",),
    "description": ("role",),
    "system_message": ("system_prompt",),
    "llm_models": ("model", "temperature"),
    "mcp_servers": ("tools",),
}


@transaction.atomic
def create_described(actor: Actor, item: Mapping[str, Any]) -> Agent:
    """A new agent with `source: api`. Raises InvalidInput (also for an unknown MCP server),
    AgentNameTaken, TooMany.
    """
    actor.need(Scope.ADMIN)
    lock_agents(actor)
    made = {"mcp_servers": [], **item, "source": API}
    with complaining():
        return create_agent(actor, **_fields(actor, made, _document(actor)))


@transaction.atomic
def update_described(actor: Actor, agent_id: str, changes: Mapping[str, Any]) -> Agent:
    """Change what is given; where it comes from stays. Raises as `create_described`, AgentNotFound."""
    actor.need(Scope.ADMIN)
    lock_agents(actor)
    agent = find_agent(actor, agent_id)
    if changes.get("id", agent.name) != agent.name:
        raise wrong("id", "An agent keeps its id.")
    document = _document(actor)
    item = {**written_of(agent, document), **changes, "source": source_of(agent)}
    told = {field for name in changes for field in CHANGES.get(name, ())}
    fields = {
        field: value for field, value in _fields(actor, item, document).items() if field in told
    }
    fields["metadata"] = {**agent.metadata, KEY: item}
    with complaining():
        return update_agent(actor, agent.pk, **fields)


@transaction.atomic
def delete_described(actor: Actor, agent_id: str) -> str:
    """The id of who is gone. Raises AgentNotFound; AgentOfFormation for who comes with the file."""
    actor.need(Scope.ADMIN)
    lock_agents(actor)
    agent = find_agent(actor, agent_id)
    if source_of(agent) != API:
        raise AgentOfFormation
    delete_agent(actor, agent.pk)
    return agent.name


def _document(actor: Actor) -> Mapping[str, Any]:
    """The formation's; none in a workspace that is nobody's home."""
    try:
        return registry.running(actor.workspace_id).document
    except NotFound:
        return {}


def _fields(actor: Actor, item: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an item, whose servers and secrets are there until the transaction ends."""
    rows = set(list_mcp_servers(actor).values_list("name", flat=True))
    for server, slug in server_slugs(item).items():
        if slug not in rows:
            raise wrong("mcp_servers", f"There is no MCP server {server!r} here.")
    used = secrets_in(item)
    if used:
        lock_secrets(actor)
    secrets = opened_secrets(actor.workspace_id, used)
    for field, value in item.items():
        if missing := sorted(secrets_in(value) - secrets.keys()):
            raise wrong(field, f"There is no secret {missing[0]!r} here.")
    return fields_of(item, document, secrets)
