"""`manage.py formations rollback ID`: the version before, again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.formations.management.formations.progress import progress
from apps.formations.management.formations.remote import add_server, server_of

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from apps.accounts.operating import OperatorCommand, Row

NAME = "rollback"
WORDS = "return to the version before; a second time to the newer one"
EXAMPLE = "rollback hello-local"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")
    add_server(parser)


def run(command: OperatorCommand, options: dict[str, Any]) -> Row:
    done: Row = {}
    with progress(command.stderr, "Rolling back") as told:
        path = f"/rpc/formations/{options['id']}/rollback"
        for name, data in server_of(options).events("POST", path):
            told(100 if name == "complete" else int(data.get("progress") or 0), 100)
            done = data if name == "complete" else done
    return done
