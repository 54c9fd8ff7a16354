from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Exit 0 when a worker, or this machine's gateway, has given a sign of life lately."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--within", type=int, default=60, help="seconds")
        parser.add_argument("--gateway", action="store_true", help="ask for this machine's gateway")

    def handle(self, *args: Any, **options: Any) -> None:
        from polymux.embedded.watch import WORKER, gateway_name, is_fresh

        name = gateway_name() if options["gateway"] else WORKER
        try:
            fresh = is_fresh(name, timedelta(seconds=options["within"]))
        except DatabaseError as error:
            raise CommandError(f"the database cannot be asked: {error}".splitlines()[0]) from None
        if not fresh:
            raise CommandError(f"no {name} has given a sign of life within {options['within']} s")
