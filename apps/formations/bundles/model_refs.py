"""Lists of models: one capability an item, `provider/model` or the name of an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.formations.bundles.schema import CAPABILITIES

if TYPE_CHECKING:
    from apps.formations.bundles.report import Report
    from apps.formations.bundles.yamlfile import At, Document


def aliases_of(formation: Document) -> frozenset[str]:
    llm = formation.value.get("llm") or {}
    return frozenset(llm.get("aliases") or ())


def refuse_strange_models(
    document: Document, at: At, models: Any, aliases: frozenset[str], report: Report
) -> None:
    """`models` is the list that stands at `at`, checked against its schema already."""
    for index, item in enumerate(models or ()):
        named = [capability for capability in CAPABILITIES if capability in item]
        if len(named) != 1:
            words = f"A model has one of {', '.join(CAPABILITIES)}; this one has {len(named)}."
            report.wrong(document, (*at, index), words)
            continue
        model = item[named[0]]
        if "/" not in model.strip("/") and model not in aliases and "${{" not in model:
            words = f"{named[0]} must be provider/model or one of llm.aliases."
            report.wrong(document, (*at, index, named[0]), words)
