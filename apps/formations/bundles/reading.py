"""An unpacked bundle becomes the document that is stored and applied (contract/muxi.md §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.formations.bundles import (
    agents,
    checking,
    doubts,
    members,
    prompts,
    secret_use,
    servers,
    vault,
    yamlfile,
)
from apps.formations.bundles.errors import BundleError, Problem
from apps.formations.bundles.model_refs import aliases_of, refuse_strange_models
from apps.formations.bundles.names import checked_id
from apps.formations.bundles.report import Report
from apps.formations.bundles.source import Source
from apps.formations.bundles.yamlfile import Document

if TYPE_CHECKING:
    from pathlib import Path

USUAL_VERSION = "1.0.0"
_KINDS = (members.AGENT, members.SERVER, members.SERVICE)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says. `document` keeps its placeholders; `secrets` are the values by stored name.

    `document` (JSON): `config` the formation's file; `agents`, `mcp`, `a2a` lists; `triggers`, `sops`,
    `skills` by name; `knowledge` a list of `{agent, path | url, description}`; `secrets_used` names;
    `files` a list of `{path, size}`.
    """

    id: str
    version: str
    name: str
    description: str
    document: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)
    warnings: tuple[Problem, ...] = ()


def read(root: Path) -> Bundle:
    """Read and check everything below `root`. BundleError names the first problem and knows all of them."""
    report = Report()
    source = Source.of(root)
    formation = _formation(source)
    formation = _without_broken_parts(formation, report)
    with report.noting():
        if "id" in formation.value:
            checked_id(formation.value["id"], file=formation.file, line=formation.line(("id",)))
    document, documents = _document(source, formation, report)
    secrets: dict[str, str] = {}
    with report.noting():
        secrets = vault.open_secrets(source)
        document["secrets_used"] = secret_use.check_secrets(documents, secrets, source, report)
    report.raise_if_wrong()
    value = formation.value
    return Bundle(
        id=value["id"],
        version=value.get("version", USUAL_VERSION),
        name=value.get("name", value["id"]),
        description=value["description"],
        document=document,
        secrets=secrets,
        warnings=tuple(report.warnings),
    )


def _formation(source: Source) -> Document:
    path = source.afs("formation")
    if not path:
        words = "There is no formation.afs, formation.yaml or formation.yml in the bundle."
        raise BundleError("ParseError", words)
    return yamlfile.parse(source.text(path), path)


def _without_broken_parts(formation: Document, report: Report) -> Document:
    """What can be read on with: a wrong number in one block hides nothing that is wrong in another."""
    broken = checking.broken_parts("FORMATION", formation, report)
    if not isinstance(formation.value, dict):
        report.raise_if_wrong()
    whole = {name: part for name, part in formation.value.items() if name not in broken}
    return Document(formation.file, whole, formation.lines)


def _document(
    source: Source, formation: Document, report: Report
) -> tuple[dict[str, Any], list[Document]]:
    """The document, and the YAML files it was made of."""
    kinds = [members.Members(kind, source, report) for kind in _KINDS]
    of_agents, of_servers, of_services = kinds
    models = (formation.value.get("llm") or {}).get("models")
    refuse_strange_models(formation, ("llm", "models"), models, aliases_of(formation), report)
    found = agents.read_agents(of_agents, formation, source, report)
    document = {
        "config": formation.value,
        "mcp": servers.read_servers(of_servers, formation, found, source, report),
        "agents": [agent.item for agent in found],
        "a2a": servers.read_services(of_services, formation, report),
        "triggers": prompts.read_triggers(source, report),
        "sops": prompts.read_sops(source, report),
        "skills": prompts.read_skills(source, report),
        "knowledge": [item for agent in found for item in agent.knowledge],
        "files": [{"path": path, "size": size} for path, size in sorted(source.sizes.items())],
    }
    doubts.doubt_names(document, formation, report)
    return document, [formation, *(file for kind in kinds for file in kind.used.values())]
