"""The agents of a formation and what they know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.core.paths import PathRefused, parts_of
from apps.formations.bundles.members import AGENT, Members, refuse_twins
from apps.formations.bundles.model_refs import aliases_of, refuse_strange_models

if TYPE_CHECKING:
    from apps.formations.bundles.report import Report
    from apps.formations.bundles.source import Source
    from apps.formations.bundles.yamlfile import Document

# Where knowledge may lie outside of the bundle. `file:` would be a path of our own disk.
REMOTE = ("http", "https", "s3", "gs", "az", "rsync", "ftp", "sftp")
# Names that mean something else where an agent is addressed (contract/polpo.md §3.4).
RESERVED = {"team", "teams", "processes"}


@dataclass(slots=True)
class Agent:
    """`item` is what the document keeps; `knowledge` the sources in it, checked."""

    document: Document
    item: dict[str, Any]
    knowledge: list[dict[str, str]] = field(default_factory=list)


def read_agents(
    members: Members, formation: Document, source: Source, report: Report
) -> list[Agent]:
    """In the order in which the formation lists them."""
    documents = members.listed(formation, ("agents",))
    refuse_twins(AGENT, documents, report)
    aliases = aliases_of(formation)
    return [_agent(document, aliases, source, report) for document in documents]


def _agent(document: Document, aliases: frozenset[str], source: Source, report: Report) -> Agent:
    value = document.value
    if value["id"].lower() in RESERVED:
        report.wrong(document, ("id",), f"No agent may be called `{value['id']}`.")
    item = {name: part for name, part in value.items() if name not in {"schema", "llm"}}
    for at in (("llm_models",), ("llm",), ("llm", "models")):
        models = _models_at(value, at)
        if models:
            refuse_strange_models(document, at, models, aliases, report)
            item["llm_models"] = models
    item |= {"active": value.get("active", True), "source": "formation"}
    item["mcp_servers"] = value.get("mcp_servers", [])
    return Agent(document, item, _knowledge(document, source, report))


def _models_at(value: dict[str, Any], at: tuple[str, ...]) -> list[Any]:
    found: Any = value
    for step in at:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, list) else []


def _knowledge(document: Document, source: Source, report: Report) -> list[dict[str, str]]:
    """Its sources; none when it is switched off, but what is wrong with them is said all the same."""
    knowledge = document.value.get("knowledge") or {}
    found = []
    for index, item in enumerate(knowledge.get("sources", ())):
        kind = "path" if "path" in item else "url"
        try:
            place = _path(item["path"], source) if kind == "path" else _url(item["url"])
        except ValueError as refused:
            report.wrong(document, ("knowledge", "sources", index, kind), str(refused))
            continue
        about = item.get("description", "")
        found.append({"agent": document.value["id"], kind: place, "description": about})
    return found if knowledge.get("enabled", True) else []


def _path(written: str, source: Source) -> str:
    try:
        path = "/".join(parts_of(written))
    except PathRefused:
        raise ValueError("Must be a relative path that stays inside the bundle.") from None
    if path in source.sizes or path in source.folders:
        return path
    raise ValueError("Is not in the bundle, or is an empty folder.")


def _url(written: str) -> str:
    scheme = written.partition("://")[0].lower()
    if "://" not in written or scheme not in REMOTE:
        raise ValueError(f"Must be an address that begins with {', '.join(REMOTE)}.")
    return written
