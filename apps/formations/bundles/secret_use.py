"""Which secrets a formation asks for, and whether it brings them (contract/muxi.md §3.3, step 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.formations.bundles.placeholders import secrets_in, texts_of
from apps.formations.bundles.vault import SEALED
from apps.formations.bundles.yamlfile import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apps.formations.bundles.report import Report
    from apps.formations.bundles.source import Source
    from apps.formations.bundles.yamlfile import At


def check_secrets(
    documents: list[Document], secrets: Mapping[str, str], source: Source, report: Report
) -> list[str]:
    """The stored names of all secrets asked for; each that is not in `secrets` is a SecretsError."""
    used = set()
    for document, at, name in (*_in_files(documents), *_in_texts(source)):
        used.add(name)
        if name not in secrets:
            where = f"is not in {SEALED}" if source.has(SEALED) else f"is missing: no {SEALED}"
            report.wrong(document, at, f"The secret {name} {where}.", type_name="SecretsError")
    return sorted(used)


def _in_files(documents: list[Document]) -> Iterator[tuple[Document, At, str]]:
    for document in documents:
        for at, text in texts_of(document.value):
            for name in secrets_in(text):
                yield document, at, name


def _in_texts(source: Source) -> Iterator[tuple[Document, At, str]]:
    for path in source.inside("triggers", "sops", ending=(".md",)):
        for number, line in enumerate(source.text(path).split("\n"), 1):
            for name in secrets_in(line):
                yield Document(path, lines={(): number}), (), name
