"""`manage.py formations logs ID`: what a formation did last, or does from now on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from apps.formations.management.formations.remote import add_server, server_of

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from apps.accounts.operating import OperatorCommand, Row

NAME = "logs"
WORDS = "the newest lines of a formation's log; with --follow those that come"
EXAMPLE = "logs hello-local --lines 20"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--lines", default="100", help="how many (1-10000)")
    parser.add_argument("--stream", default="all", choices=["all", "stdout", "stderr"])
    parser.add_argument("--follow", action="store_true", help="until Ctrl-C")
    add_server(parser)


def run(command: OperatorCommand, options: dict[str, Any]) -> list[Row]:
    server, path = server_of(options), f"/rpc/formations/{options['id']}/logs"
    query = {"lines": options["lines"], "stream": options["stream"]}
    if not options["follow"]:
        return [{"line": line} for line in server.data("GET", path, query=query)["lines"]]
    with suppress(KeyboardInterrupt):
        for name, data in server.events("GET", path, query={**query, "follow": "1"}):
            if name == "log":
                command.stdout.write(data["line"])
    return []
