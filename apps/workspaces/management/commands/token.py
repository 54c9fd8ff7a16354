"""`manage.py token`: people's personal API tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from apps.accounts.operating import OperatorCommand, Row, user_of
from apps.core.actor import CallerKind
from apps.core.errors import Conflict, NotFound
from apps.workspaces.operating import workspace_id_of
from apps.workspaces.selectors import list_tokens
from apps.workspaces.services import issue_token, revoke_token

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from apps.core.actor import Caller
    from apps.workspaces.models import ApiToken

EVERYWHERE = "*"


class Command(OperatorCommand):
    help = "Issue, list and revoke a person's tokens. A new token is shown once."
    examples = """
  manage.py token issue --email ben@example.org --workspace default --scope write --name laptop
  manage.py token issue --email olga@example.org --workspace '*' --scope admin --name backup
  manage.py token list --email ben@example.org
  manage.py token revoke --email ben@example.org --name laptop --reason 'laptop lost'
  manage.py token revoke --email ben@example.org --prefix pmx_3fQa
"""

    def add_verbs(self) -> None:
        issue = self.add_verb("issue", self.issue, "make a token and show it, once")
        shown = self.add_verb("list", self.rows, "list live tokens")
        revoke = self.add_verb("revoke", self.revoke, "kill a token, at once")
        for parser in (issue, shown, revoke):
            parser.add_argument("--email", required=True, help="whose")
            parser.add_argument(
                "--workspace",
                metavar="SLUG",
                required=parser is issue,
                help="where it opens; '*' for everywhere the person has a seat",
            )
        issue.add_argument("--scope", required=True, help="read, write or admin")
        issue.add_argument("--name", required=True)
        issue.add_argument("--purpose", default="")
        which = revoke.add_mutually_exclusive_group(required=True)
        which.add_argument("--name")
        which.add_argument("--prefix", help="how it begins, as `list` shows it")
        revoke.add_argument("--reason", default="", help="kept in the audit log")

    def issue(self, options: dict[str, Any]) -> Row:
        caller, user = self.caller(options), user_of(options["email"])
        place = _place(caller, options)
        try:
            token, raw = issue_token(
                caller,
                name=options["name"],
                scope=options["scope"],
                workspace_id=place,
                purpose=options["purpose"],
                for_user=user.pk,
            )
        except NotFound:
            raise NotFound(f"{user.email} has no seat in {options['workspace']}.") from None
        self.stderr.write("The token is shown this once.")
        return _row(token) | {"token": raw}

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [_row(token) for token in self._tokens(options)]

    def revoke(self, options: dict[str, Any]) -> Row:
        rows = self._tokens(options)
        if options["name"] is not None:
            found = list(rows.filter(name=options["name"].replace("\x00", ""))[:2])
        else:
            found = list(rows.filter(prefix__startswith=options["prefix"] or "?")[:2])
        if not found:
            raise NotFound("There is no such live token of this person.")
        if len(found) > 1:
            raise Conflict("Several tokens fit: name one with --prefix.")
        revoke_token(self.caller(options), found[0].pk, options["reason"])
        return {"revoked": found[0].name, "begins": found[0].prefix}

    def _tokens(self, options: dict[str, Any]) -> QuerySet[ApiToken]:
        """The person's live tokens, as they would see them; of one place when that is named."""
        caller, user = self.caller(options), user_of(options["email"])
        theirs = replace(caller, kind=CallerKind.LOGIN, user_id=user.pk, platform=False)
        rows = list_tokens(theirs).select_related("workspace")
        if options["workspace"] is None:
            return rows
        place = _place(caller, options)
        if place is None:
            return rows.filter(workspace_id__isnull=True)
        return rows.filter(workspace_id=place)


def _place(caller: Caller, options: dict[str, Any]) -> UUID | None:
    slug = options["workspace"]
    return None if slug == EVERYWHERE else workspace_id_of(caller, slug)


def _row(token: ApiToken) -> Row:
    return {
        "name": token.name,
        "begins": token.prefix,
        "workspace": token.workspace.slug if token.workspace else EVERYWHERE,
        "scope": token.scope,
        "since": f"{token.created_at:%Y-%m-%d}",
        "last_used": f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else None,
    }
