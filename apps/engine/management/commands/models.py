"""`manage.py models`: which models can be used here, which one is the default, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from apps.accounts.operating import shown
from apps.engine import choice

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Print the default model, why it is that one, what is not set up, and every model known. "
        "A model whose key was merely found is not ready until a process has proved it by a call."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        lines, models = choice.describe(), choice.catalog()
        if options["json"]:
            self.stdout.write(json.dumps({"about": lines, "models": models}, indent=2))
            return
        self.stdout.write("\n".join([*lines, "", shown(models)]))
