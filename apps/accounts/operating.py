"""The frame of the operator's commands: `manage.py NOUN VERB …`.

A command names its verbs; each calls a service with an operator's `Caller` and gives back a row or a
list of rows of plain data, shown as text or, with `--json`, as JSON. What goes wrong is one line on
stderr and exit code 1. Secrets are never among the rows, except the one that was just made.
"""

from __future__ import annotations

import json
import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.db import OperationalError, ProgrammingError
from psycopg.errors import UndefinedTable

from apps.accounts.selectors import find_user_by_email, operator_caller
from apps.core.actor import Caller, CallerKind, Scope
from apps.core.checks import wrong
from apps.core.errors import DomainError, InvalidInput, NotFound

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Callable, Iterable

    from django.core.management.base import CommandParser

    from apps.accounts.models import User

Row = dict[str, Any]

WIDEST = 60  # characters of a cell; --json shows all
LARGEST_FILE = 1_000_000  # bytes


class _Help(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's help, with the examples as they are written."""


class OperatorCommand(BaseCommand):
    """A noun with verbs. A subclass adds each with `add_verb`, in `add_verbs`; `examples` end the help."""

    requires_system_checks: list[str] = []
    examples: str = ""  # begins and ends with a line break

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = _Help
        parser.epilog = f"examples:{self.examples}"
        self._verbs: _SubParsersAction[Any] = parser.add_subparsers(
            dest="verb", required=True, metavar="VERB"
        )
        self.add_verbs()

    def add_verbs(self) -> None:
        """Call `add_verb` for each verb of this noun."""
        raise NotImplementedError

    def add_verb(self, name: str, run: Callable[[dict[str, Any]], Any], words: str) -> Any:
        """The parser of one verb. `run(options)` returns a row or a list of rows."""
        parser = self._verbs.add_parser(name, help=words, description=words)
        parser.set_defaults(run=run)
        self.add_common(parser)
        return parser

    def add_common(self, parser: Any) -> None:
        """The options that every verb of this noun has."""
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--as", dest="operator", metavar="EMAIL", help="act in this operator's name"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = options["run"](options)
        except DomainError as error:
            raise CommandError(sentence(error)) from None
        except OperationalError as error:
            problem = " ".join(str(error).split())
            raise CommandError(f"The database does not answer: {problem}") from None
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable):
                raise
            raise CommandError("The database is empty: `manage.py migrate` first.") from None
        as_json = options.get("json")
        self.stdout.write(json.dumps(found, default=str, indent=2) if as_json else shown(found))

    def caller(self, options: dict[str, Any]) -> Caller:
        """Whoever types the command: the operator of `--as`, else an operator without a name.

        The audit names the command in place of a request.
        """
        here = f"manage.py {type(self).__module__.rpartition('.')[2]} {options['verb']}"
        if options.get("operator"):
            return operator_caller(user_of(options["operator"]), request_id=here)
        return Caller(CallerKind.OPERATOR, Scope.ADMIN, platform=True, request_id=here)


def user_of(email: str) -> User:
    """The person with this e-mail. Raises NotFound, in words."""
    user = find_user_by_email(email)
    if user is None:
        raise NotFound(f"There is no user {email}.")
    return user


def sentence(error: DomainError) -> str:
    """One line: which field is wrong and why, else the error's own words."""
    fields = error.details.get("fields") if isinstance(error, InvalidInput) else None
    if not isinstance(fields, dict):
        return error.message
    return " ".join(f"{name}: {' '.join(words)}" for name, words in fields.items())


def shown(found: Row | list[Row]) -> str:
    """Rows as a table; one row as `name: value` lines."""
    if isinstance(found, dict):
        return "\n".join(f"{name}: {_cell(value)}" for name, value in found.items())
    if not found:
        return "none"
    columns = list(found[0])
    lines = [columns, *([_short(row[name]) for name in columns] for row in found)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def text_or_file(field: str, given: str) -> str:
    """`TEXT` as it is; of `@FILE` what the file holds, of `@-` what stdin holds (UTF-8, 1 MB at most)."""
    if not given.startswith("@"):
        return given
    try:
        with sys.stdin.buffer if given == "@-" else Path(given[1:]).open("rb") as source:
            text = source.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise wrong(field, f"{given[1:]} is larger than {LARGEST_FILE} bytes.")
        return text.decode()
    except OSError as error:
        raise wrong(field, f"{given[1:]} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise wrong(field, f"{given[1:]} is not UTF-8 text.") from None


def pairs(field: str, given: Iterable[str] | None) -> dict[str, str]:
    """`NAME=VALUE` words as a mapping; a value `@FILE` is read from that file, without its last newline."""
    found = {}
    for word in given or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise wrong(field, "Write NAME=VALUE.")  # without the word: it may hold a secret
        found[name] = text_or_file(field, value).rstrip("\r\n") if value[:1] == "@" else value
    return found


def whole(field: str, given: str) -> int:
    """A whole number out of the command line."""
    try:
        return int(given)
    except ValueError:
        raise wrong(field, f"{given!r} is not a whole number.") from None


def number(field: str, given: str) -> float:
    """A number out of the command line."""
    try:
        return float(given)
    except ValueError:
        raise wrong(field, f"{given!r} is not a number.") from None


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    return str(value) or "-"


def _short(value: Any) -> str:
    text = " ".join(_cell(value).split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
