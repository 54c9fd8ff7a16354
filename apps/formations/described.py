"""Agents and MCP servers as a formation's file describes them, and as rows (contract/muxi.md §5.9, §6).

An agent's item of the file lies in `Agent.metadata["muxi"]`, with its `source`: `formation`, or `api` for
one that was made while the formation ran. What another surface changed since is the row's.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from apps.core.errors import InvalidInput
from apps.core.masking import masked_block
from apps.formations import bundles, reading
from apps.formations.bundles import placeholders
from apps.formations.profile import refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from apps.formations.models import Agent, McpServer

    Item = Mapping[str, Any]
    Document = Mapping[str, Any]

KEY = "muxi"  # of Agent.metadata
FORMATION, API = "formation", "api"
# Of an MCP server's item: how the bundle's reader helps itself.
OURS = frozenset({"slug", "shared", "files"})
# What the file calls differently than the row.
FIELDS = {
    "name": "id",
    "identity.displayName": "name",
    "identity": "name",
    "role": "description",
    "system_prompt": "system_message",
    "model": "llm_models",
    "tools": "mcp_servers",
}


def secrets_in(value: Any) -> set[str]:
    """The names behind every `${{ secrets.X }}` in `value`."""
    if isinstance(value, dict):
        return {name for item in value.values() for name in secrets_in(item)}
    if isinstance(value, (list, tuple)):
        return {name for item in value for name in secrets_in(item)}
    return set(placeholders.secrets_in(value)) if isinstance(value, str) else set()


def whole(document: Document) -> dict[str, Any]:
    """The document with the parts that a draft without files does not have."""
    return {"config": {}, "agents": [], "mcp": [], **document}


# --- Agents ---------------------------------------------------------------------------------------
def fields_of(item: Item, document: Document, secrets: Mapping[str, str]) -> dict[str, Any]:
    """An agent's item as fields of `create_agent`: as one of the file, but for where it comes from."""
    fields = reading.agent_fields(item, whole(document), secrets)
    return fields | {"identity": {"displayName": item["name"]}, "metadata": {KEY: dict(item)}}


def item_of(agent: Agent, document: Document) -> dict[str, Any]:
    """The agent as its item, with secrets masked."""
    shown: dict[str, Any] = masked_block(written_of(agent, document))
    return shown


def written_of(agent: Agent, document: Document) -> dict[str, Any]:
    """The agent as its item: what was written down, and what the row says today."""
    known = agent.metadata.get(KEY) or {}
    usual = {"description": agent.role, "active": True, "mcp_servers": []}
    today = {
        "id": agent.name,
        "name": agent.identity.get("displayName") or known.get("name") or agent.name,
        "system_message": _message_today(agent, known),
        "llm_models": _models_today(agent, known, document),
        "source": source_of(agent),
    }
    return {**usual, **known, **today}


def source_of(agent: Agent) -> str:
    """`formation` for what the file brings and for the generalist that every formation has."""
    known = agent.metadata.get(KEY) or {}
    return str(known.get("source") or (FORMATION if agent.is_default else API))


def is_active(agent: Agent) -> bool:
    return (agent.metadata.get(KEY) or {}).get("active", True) is not False


def _message_today(agent: Agent, known: Item) -> str:
    """Without a system message of its own the row says who the agent is: that is no message."""
    if known and reading.prompt_of(known) == agent.system_prompt:
        return str(known.get("system_message") or "")
    return agent.system_prompt


def _models_today(agent: Agent, known: Item, document: Document) -> list[Any]:
    """As they were written down, while the row's model follows from that."""
    models = list(known.get("llm_models") or ())
    written = {"id": agent.name, "mcp_servers": [], **known}
    if agent.model in {"", reading.agent_fields(written, whole(document), {})["model"]}:
        return models
    others = [entry for entry in models if not (isinstance(entry, dict) and "text" in entry)]
    return [{"text": agent.model}, *others]


def server_slugs(item: Item) -> dict[str, str]:
    """The MCP servers that it names: as it spells them -> the names of their rows."""
    found = [entry["id"] if isinstance(entry, dict) else entry for entry in item["mcp_servers"]]
    return {str(server): bundles.slug_of(str(server)) for server in found}


@contextmanager
def complaining() -> Iterator[None]:
    """Names the fields of an InvalidInput from inside as a formation's file does."""
    try:
        yield
    except InvalidInput as refused:
        named = refused.details.get("fields", {})
        refuse({FIELDS.get(field, field): words for field, words in named.items()})
        raise


# --- MCP servers ----------------------------------------------------------------------------------
def servers_of(items: Iterable[Item], rows: Iterable[McpServer]) -> list[dict[str, Any]]:
    """Every MCP server: the file's, in its order, then those that were added while it ran."""
    by_name = {row.name: row for row in rows}
    described = {bundles.slug_of(str(item["id"])): item for item in items}
    shown = [_server(item["id"], item, by_name.get(name)) for name, item in described.items()]
    return shown + [
        _server(name, _item_of_row(row), row)
        for name, row in by_name.items()
        if name not in described
    ]


def _server(name: str, item: Item, row: McpServer | None) -> dict[str, Any]:
    described = masked_block({key: value for key, value in item.items() if key not in OURS})
    seen = {
        "enabled": row is not None and row.enabled,
        "status": row.status if row else "unknown",
        "last_error": row.last_error if row else "",
        "available_tools": [tool["name"] for tool in row.tools] if row else [],
    }
    return {"source": FORMATION, **described, "id": name, **seen}


def _item_of_row(row: McpServer) -> dict[str, Any]:
    """One that no file describes; what it is sent is sealed, and no part of it."""
    shown: dict[str, Any] = {"source": API, "description": ""}
    if row.url:
        return shown | {"type": "http", "endpoint": row.url}
    return shown | {"type": "command", "command": row.command[0], "args": row.command[1:]}
