"""What is no error and yet likely a mistake."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from apps.formations.bundles.schema import FORMATION
from apps.formations.bundles.yamlfile import Document

if TYPE_CHECKING:
    from apps.formations.bundles.report import Report


def doubt_names(document: dict[str, Any], formation: Document, report: Report) -> None:
    """A block whose name is nearly one we know, and a procedure that calls for an agent who is not there."""
    known = list(FORMATION["properties"])
    for name in formation.value:
        if name not in known and (meant := get_close_matches(name, known, 1, 0.8)):
            report.doubt(formation, (name,), f"`{name}` says nothing: is `{meant[0]}` meant?")
    agents = {agent["id"] for agent in document["agents"]}
    for stem, sop in document["sops"].items():
        for agent in sop["agents_used"]:
            if agent not in agents:
                words = f"[agent:{agent}] is no agent of this formation."
                report.doubt(Document(f"sops/{stem}.md"), (), words)
