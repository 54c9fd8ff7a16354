"""The verbs of `manage.py formations`, a module each, all alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from apps.formations.management.formations import (
    deploy,
    listing,
    logs,
    new,
    rollback,
    validate,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from apps.accounts.operating import OperatorCommand, Row


class Verb(Protocol):
    """What such a module has. `EXAMPLE` is a line of the help, without `manage.py formations`."""

    NAME: str
    WORDS: str
    EXAMPLE: str

    def add_arguments(self, parser: ArgumentParser, /) -> None:
        """Add what this verb takes; `--json` and `--as` are there already."""

    def run(self, command: OperatorCommand, options: dict[str, Any], /) -> Row | list[Row]:
        """Do it; what it returns is printed. A DomainError is one line and exit code 1."""


VERBS: tuple[Verb, ...] = (new, validate, deploy, listing, logs, rollback)
