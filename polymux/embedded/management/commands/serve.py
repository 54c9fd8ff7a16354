from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Start Polymux: database, web server, worker and scheduler, with one command."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=7890, help="port to listen on (0: any)")
        parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")
        parser.add_argument("--role", choices=("all", "web", "worker", "beat"), default="all")
        parser.add_argument(
            "--workers", type=int, default=1, help="web processes (needs REDIS_URL)"
        )
        parser.add_argument(
            "--no-worker", action="store_true", help="leave jobs to other processes"
        )
        parser.add_argument("--no-beat", action="store_true", help="leave the schedule to others")
        parser.add_argument(
            "--formations",
            metavar="ADDRESS",
            default="127.0.0.1",
            help="where formations' own ports are bound ('': nowhere, they are proxied only)",
        )
        parser.add_argument("--fd", type=int, help="internal: an inherited listening socket")

    def handle(self, *args: Any, **options: Any) -> None:
        from polymux.embedded.serve import Options, serve

        serve(
            Options(
                host=options["host"],
                port=options["port"],
                server=options["server"],
                role=options["role"],
                workers=options["workers"],
                worker=not options["no_worker"],
                beat=not options["no_beat"],
                fd=options["fd"],
                formations=options["formations"],
            )
        )
