"""`manage.py user`: the people of this installation."""

from __future__ import annotations

import secrets
import sys
from getpass import getpass
from typing import Any

from apps.accounts.models import PlatformRole
from apps.accounts.operating import OperatorCommand, Row
from apps.accounts.selectors import list_users
from apps.accounts.services import create_user
from apps.core.checks import wrong

LISTED = 1_000  # the newest


class Command(OperatorCommand):
    help = (
        "Create people and list them. Without a password option one is made and shown once; it has "
        "to be changed at the first login."
    )
    examples = """
  manage.py user create --email ben@example.org --display-name Ben
  manage.py user create --email olga@example.org --superadmin --password-prompt
  manage.py user create --email ops@example.org --staff --password-stdin < password.txt
  manage.py user list
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, f"list the newest {LISTED} people")
        create = self.add_verb("create", self.create, "create a person")
        create.add_argument("--email", required=True)
        create.add_argument("--display-name", default="", metavar="NAME")
        rank = create.add_mutually_exclusive_group()
        rank.add_argument("--staff", action="store_true", help="may open the console")
        rank.add_argument("--superadmin", action="store_true", help="may do all there")
        source = create.add_mutually_exclusive_group()
        source.add_argument("--password-stdin", action="store_true", help="first line of stdin")
        source.add_argument("--password-prompt", action="store_true", help="ask for it, twice")

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [
            {
                "email": user.email,
                "name": user.display_name,
                "role": user.role,
                "active": user.is_active,
                "since": f"{user.created_at:%Y-%m-%d}",
            }
            for user in list_users(self.caller(options))[:LISTED]
        ]

    def create(self, options: dict[str, Any]) -> Row:
        given = _given_password(options)
        password = secrets.token_urlsafe(15) if given is None else given
        user = create_user(
            self.caller(options),
            options["email"],
            password,
            display_name=options["display_name"],
            role=_role(options),
            must_change_password=given is None,
        )
        row = {"email": user.email, "role": str(user.role)}
        return row if given is not None else row | {"password": password}


def _role(options: dict[str, Any]) -> PlatformRole:
    if options["superadmin"]:
        return PlatformRole.SUPERADMIN
    return PlatformRole.ADMIN if options["staff"] else PlatformRole.USER


def _given_password(options: dict[str, Any]) -> str | None:
    if options["password_stdin"]:
        return sys.stdin.readline(2_000).rstrip("\r\n")
    if not options["password_prompt"]:
        return None
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise wrong("password", "The two are not the same.")
    return password
