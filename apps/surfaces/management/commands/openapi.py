"""`manage.py openapi`: write or check the OpenAPI documents; a warning is an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from drf_spectacular.drainage import GENERATOR_STATS, reset_generator_stats
from drf_spectacular.validation import validate_schema

from apps.surfaces import openapi


class Command(BaseCommand):
    help = "Write one surface's OpenAPI document, or all of them; --check only validates."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--surface", choices=[book.slug for book in openapi.BOOKS])
        parser.add_argument("--out", type=Path, help="a folder for <surface>.json; default: stdout")
        parser.add_argument("--check", action="store_true", help="validate only, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = options["surface"]
        for book in openapi.BOOKS:
            if wanted in {None, book.slug}:
                document = self._checked(book)
                if not options["check"]:
                    self._write(book, document, options["out"])

    def _checked(self, book: openapi.Book) -> dict[str, Any]:
        reset_generator_stats()
        document = openapi.build(book)
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise CommandError(f"{book.slug}: the document was made with warnings")
        validate_schema(document)  # type: ignore[no-untyped-call]
        self.stderr.write(f"{book.slug}: {len(document['paths'])} paths")
        return document

    def _write(self, book: openapi.Book, document: dict[str, Any], folder: Path | None) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if folder is None:
            sys.stdout.write(text)
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{book.slug}.json").write_text(text, encoding="utf-8")
