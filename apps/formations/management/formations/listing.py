"""`manage.py formations list`: what is deployed on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.formations.management.formations.remote import add_server, server_of

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from apps.accounts.operating import OperatorCommand, Row

NAME = "list"
WORDS = "what is deployed, where it answers and in which version"
EXAMPLE = "list"


def add_arguments(parser: ArgumentParser) -> None:
    add_server(parser)


def run(_command: OperatorCommand, options: dict[str, Any]) -> list[Row]:
    found = server_of(options).data("GET", "/rpc/formations")
    return [
        {
            "id": item["id"],
            "status": item["status"],
            "version": item["version"]["semantic"],
            "port": item["port"],
            "restarts": item["restart_count"],
            "uptime": item["uptime"],
        }
        for item in found["formations"]
    ]
