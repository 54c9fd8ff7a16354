from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Listen on the port of every running formation (a part of `serve`, in a process of its own)."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--formations", metavar="ADDRESS", default="127.0.0.1")
        parser.add_argument("--host", dest="formations", help="the same: address to listen on")
        parser.add_argument("--beside-parent", action="store_true", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        from polymux.embedded.serve import Options, serve

        serve(
            Options(
                role="gateway",
                formations=options["formations"],
                beside_parent=options["beside_parent"],
            )
        )
