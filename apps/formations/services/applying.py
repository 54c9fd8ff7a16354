"""A document becomes the rows of a formation's home: agents, MCP servers, secrets, keys, its model.

What came with the document before and is not in this one goes; what was made through an API stays.
All in the transaction of the caller: a document that cannot be applied leaves no trace.
"""

from __future__ import annotations

import secrets as random
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.formations import reading
from apps.formations.errors import AgentNotFound, StdioForOperators
from apps.formations.locks import lock_agents
from apps.formations.means import (
    add_mcp_server,
    remove_mcp_server,
    set_tool,
    update_mcp_server,
)
from apps.formations.models import Agent, McpServer
from apps.formations.selectors import find_agent
from apps.formations.services.agents import create_agent, delete_agent, update_agent
from apps.workspaces.models import Secret, TokenKind
from apps.workspaces.selectors import list_keys, may_run_programs
from apps.workspaces.services import (
    adopt_key,
    put_secret,
    remove_secret,
    revoke_key,
    update_settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.core.actor import Actor
    from apps.formations.reading import Document

NOTHING: Document = {"config": {}, "agents": [], "mcp": []}
KEY_KINDS = {"admin_key": TokenKind.ADMIN_KEY, "client_key": TokenKind.CLIENT_KEY}
KEY_NAMES = {"admin_key": "The formation's admin key", "client_key": "The formation's client key"}
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Applied:
    """`made`: keys that were made now, by kind, in the clear: shown once, kept nowhere."""

    made: dict[str, str] = field(default_factory=dict, repr=False)


def apply_document(
    inside: Actor,
    document: Document,
    secrets: Mapping[str, str],
    *,
    storage_key: str,
    before: Document | None = None,
) -> Applied:
    """Make the home of `inside` what `document` says. `before`: what was applied last; `storage_key`:
    where the bundle's archive lies.

    Its caller is in a transaction, and has saved the formation with its home. Raises InvalidInput,
    StdioForOperators, TooMany, TokenLimitReached.
    """
    check_may_apply(inside, document)
    old = before or NOTHING
    _lock_home(inside)
    _apply_secrets(inside, document, secrets, old)
    wanted = [reading.mcp_fields(item, secrets, storage_key) for item in document["mcp"]]
    _apply_servers(inside, {fields["name"]: fields for fields in wanted}, old)
    _apply_denials(inside, document, old)
    _apply_agents(inside, document, secrets, old)
    update_settings(inside, {"default_model": reading.default_model(document, secrets) or None})
    return _apply_keys(inside, document, secrets)


def check_may_apply(actor: Actor, document: Document) -> None:
    """StdioForOperators for a document that runs programs, unless `actor` may have them run."""
    if reading.runs_programs(document) and not may_run_programs(actor):
        raise StdioForOperators


def _lock_home(inside: Actor) -> None:
    """Every row that is written below, before the first fact: facts take the log's head, the last
    lock, and whoever holds one of these rows may be waiting for it.
    """
    from apps.workspaces.services.workspaces import lock_workspace

    lock_workspace(inside)
    lock_agents(inside)
    for model in (Agent, McpServer, Secret):
        rows = model.objects.in_workspace(inside.workspace_id).order_by("id")
        list(rows.select_for_update().values_list("id"))


def _apply_secrets(
    inside: Actor, document: Document, secrets: Mapping[str, str], old: Document
) -> None:
    wanted = reading.vault_of(document, secrets)
    known = set(Secret.objects.in_workspace(inside.workspace_id).values_list("name", flat=True))
    for name in sorted(set(old.get("secret_names", ())) & known - wanted.keys()):
        remove_secret(inside, name)
    for name, value in wanted.items():
        put_secret(inside, name, value)


def _apply_servers(inside: Actor, wanted: Mapping[str, dict[str, Any]], old: Document) -> None:
    rows = McpServer.objects.in_workspace(inside.workspace_id)
    known = {row.name: row for row in rows.order_by("name")}
    was = {item["slug"] for item in old["mcp"]}
    for name, row in list(known.items()):
        other_kind = name in wanted and wanted[name]["transport"] != row.transport
        if other_kind or (name in was and name not in wanted):
            remove_mcp_server(inside, row.pk)
            del known[name]
    for name, fields in wanted.items():
        if name in known:
            changes = {key: fields[key] for key in fields if key not in {"name", "transport"}}
            update_mcp_server(inside, known[name].pk, **changes)
        else:
            add_mcp_server(inside, **fields)


def _apply_denials(inside: Actor, document: Document, old: Document) -> None:
    denied, were = reading.denied_tools(document), reading.denied_tools(old)
    for tool in sorted(denied ^ were):
        set_tool(inside, tool, enabled=tool not in denied)


def _apply_agents(
    inside: Actor, document: Document, secrets: Mapping[str, str], old: Document
) -> None:
    wanted = {item["id"].lower() for item in document["agents"]}
    for item in old["agents"]:
        if item["id"].lower() not in wanted:
            _retire(inside, item["id"])
    for item in document["agents"]:
        fields = reading.agent_fields(item, document, secrets)
        known = _agent_named(inside, item["id"])
        if known is None:
            create_agent(inside, **fields)
        else:
            update_agent(inside, known.pk, **fields)


def _retire(inside: Actor, name: str) -> None:
    """Remove an agent that a document brought; one that an API made in its place stays."""
    known = _agent_named(inside, name)
    source = (known.metadata.get("muxi") or {}).get("source") if known else None
    if known is not None and source == "formation" and not known.is_default:
        delete_agent(inside, known.pk)


def _agent_named(inside: Actor, name: str) -> Agent | None:
    try:
        return find_agent(inside, name)
    except AgentNotFound:
        return None


def _apply_keys(inside: Actor, document: Document, secrets: Mapping[str, str]) -> Applied:
    """The keys of the file, in place of what the formation had; else the ones it has, or new ones."""
    given = reading.server_keys(document, secrets)
    made: dict[str, str] = {}
    for name, kind in KEY_KINDS.items():
        live = list(list_keys(inside, kind).filter(name=KEY_NAMES[name]))
        if name not in given and live:
            continue
        if name not in given:
            made[name] = given[name] = _new_key(name)
        kept = adopt_key(inside, kind=kind, name=KEY_NAMES[name], raw=given[name])
        for row in live:
            if row.pk != kept.pk:
                revoke_key(inside, row.pk, "The formation's file names another key.")
    return Applied(made)


def _new_key(name: str) -> str:
    """A fresh key as upstream makes them (contract/muxi.md C19): 24 letters and digits."""
    said = "".join(random.choice(_ALPHABET) for _ in range(24))
    return f"sk_muxi_{name.removesuffix('_key')}_{said}"
