"""`manage.py signing_key`: keys that sign calls of the management API (MUXI-HMAC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.errors import NotFound
from apps.workspaces.models import TokenKind
from apps.workspaces.operating import WorkspaceCommand
from apps.workspaces.selectors import list_keys
from apps.workspaces.services import issue_hmac_key, revoke_key

if TYPE_CHECKING:
    from apps.accounts.operating import Row
    from apps.workspaces.models import ApiToken


class Command(WorkspaceCommand):
    help = (
        "Make, list and revoke the keys that sign calls of the management API. Several are good at"
        " once: to rotate, make one, give it out, revoke the other."
    )
    examples = """
  manage.py signing_key new --workspace default --name ci
  manage.py signing_key list --workspace default
  manage.py signing_key revoke --workspace default --key MUXI_0123456789abcdef --reason rotated
"""

    def add_verbs(self) -> None:
        new = self.add_verb("new", self.new, "make a key and show its secret, once")
        new.add_argument("--name", required=True)
        self.add_verb("list", self.rows, "list live keys")
        revoke = self.add_verb("revoke", self.revoke, "kill a key, at once")
        revoke.add_argument("--key", required=True, metavar="ID", help="as `list` shows it")
        revoke.add_argument("--reason", default="", help="kept in the audit log")

    def new(self, options: dict[str, Any]) -> Row:
        token, secret = issue_hmac_key(self.actor(options), name=options["name"])
        self.stderr.write("The secret is shown this once.")
        return _row(token) | {"secret": secret}

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [_row(token) for token in list_keys(self.actor(options), TokenKind.HMAC)]

    def revoke(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        found = list_keys(actor, TokenKind.HMAC).filter(prefix=options["key"].replace("\x00", ""))
        token = found.first()
        if token is None:
            raise NotFound("There is no such live key in the workspace.")
        revoke_key(actor, token.pk, options["reason"])
        return {"revoked": token.prefix, "name": token.name}


def _row(token: ApiToken) -> Row:
    return {
        "key": token.prefix,
        "name": token.name,
        "since": f"{token.created_at:%Y-%m-%d}",
        "last_used": f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else None,
    }
