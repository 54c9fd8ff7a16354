"""MCP servers and A2A services of a formation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.formations.bundles.members import SERVER, SERVICE, Members, refuse_twins

if TYPE_CHECKING:
    from apps.formations.bundles.agents import Agent
    from apps.formations.bundles.report import Report
    from apps.formations.bundles.source import Source
    from apps.formations.bundles.yamlfile import Document


def read_servers(
    members: Members, formation: Document, agents: list[Agent], source: Source, report: Report
) -> list[dict[str, Any]]:
    """The formation's servers, then those that only agents name; gives the agents the ids of theirs.

    `shared` servers are for every agent: those that the formation lists, or, where it lists none,
    those of the folder that no agent names.
    """
    listed = members.listed(formation, ("mcp", "servers"))
    found = list(listed)
    named = set()
    for agent in agents:
        agent.item["mcp_servers"] = _of_agent(members, agent, found)
        named |= set(agent.item["mcp_servers"])
    refuse_twins(SERVER, found, report, fold=slug_of)
    is_listed = bool((formation.value.get("mcp") or {}).get("servers"))
    shared = {server.value["id"] for server in listed} - (set() if is_listed else named)
    return [
        _server(server, source, report, shared=server.value["id"] in shared) for server in found
    ]


def read_services(members: Members, formation: Document, report: Report) -> list[dict[str, Any]]:
    """Other agents that these may talk to."""
    found = members.listed(formation, ("a2a", "outbound", "services"))
    refuse_twins(SERVICE, found, report)
    return [_without_schema(service) | {"source": "formation"} for service in found]


def slug_of(server_id: str) -> str:
    """An MCP server's id as the platform names it: small letters, digits and hyphens."""
    return server_id.lower().replace("_", "-")


def _of_agent(members: Members, agent: Agent, found: list[Document]) -> list[str]:
    """The ids of the servers one agent names; what is not among `found` yet is added."""
    ids = []
    for index, item in enumerate(agent.item["mcp_servers"]):
        known = {server.value["id"] for server in found}
        if isinstance(item, str) and item in known:
            ids.append(item)
            continue
        server = members.one(agent.document, ("mcp_servers", index), item)
        if server is None:
            continue
        ids.append(server.value["id"])
        # Two agents may include one file, or write out the same thing.
        if all(server.value != other.value for other in found):
            found.append(server)
    return list(dict.fromkeys(ids))


def _server(
    server: Document,
    source: Source,
    report: Report,
    *,
    shared: bool,
) -> dict[str, Any]:
    item = _without_schema(server)
    item |= {
        "slug": slug_of(item["id"]),
        "shared": shared,
        "active": item.get("active", True),
        "source": "formation",
    }
    if item["type"] == "http" and not _is_plain(item["endpoint"]):
        words = "endpoint must be an address without a user name: auth is for that."
        report.wrong(server, ("endpoint",), words)
    if item["type"] == "command":
        item["args"] = [_word(word) for word in item.get("args", ())]
        item["env"] = _environment(item)
        item["files"] = [word for word in (item["command"], *item["args"]) if _file(word, source)]
    if "tools" in item:
        item["tools"] = {
            rule: [names] if isinstance(names, str) else names
            for rule, names in item["tools"].items()
        }
    return item


def _is_plain(address: str) -> bool:
    try:
        return "@" not in urlsplit(address).netloc
    except ValueError:
        return False


def _environment(item: dict[str, Any]) -> dict[str, str]:
    """Its variables; `auth` of type env is another way to write them."""
    auth = item.get("auth") or {}
    written = item.get("env", {}) | (auth if auth.get("type") == "env" else {})
    return {name: _word(value) for name, value in written.items() if name != "type"}


def _file(word: str, source: Source) -> bool:
    """Whether a word of a command is a file of the bundle: it is found there, wherever it runs."""
    return source.has(word.removeprefix("./"))


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _without_schema(member: Document) -> dict[str, Any]:
    return {name: part for name, part in member.value.items() if name != "schema"}
