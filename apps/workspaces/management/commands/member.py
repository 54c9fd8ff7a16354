"""`manage.py member`: who belongs to a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.accounts.operating import Row, user_of
from apps.core.actor import Role
from apps.core.errors import NotFound
from apps.workspaces.operating import WorkspaceCommand
from apps.workspaces.selectors import list_members
from apps.workspaces.services import add_member, change_member, remove_member

if TYPE_CHECKING:
    from apps.workspaces.models import Member


class Command(WorkspaceCommand):
    help = "List, add and remove the members of a workspace, and change their roles."
    examples = """
  manage.py member list --workspace default
  manage.py member add --workspace default --email ben@example.org --role member
  manage.py member role --workspace default --email ben@example.org --role admin
  manage.py member remove --workspace default --email ben@example.org
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, "list the members")
        add = self.add_verb("add", self.add, "give somebody a seat")
        role = self.add_verb("role", self.change_role, "change a member's role")
        remove = self.add_verb("remove", self.remove, "take a seat away: access ends at once")
        for parser in (add, role, remove):
            parser.add_argument("--email", required=True)
        roles = ", ".join(Role)
        add.add_argument("--role", default=Role.MEMBER.value, help=f"{roles}; default: member")
        role.add_argument("--role", required=True, help=roles)

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [_row(member) for member in list_members(self.actor(options))]

    def add(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        return _row(add_member(actor, user_of(options["email"]).pk, options["role"]))

    def change_role(self, options: dict[str, Any]) -> Row:
        actor, user = self.actor(options), user_of(options["email"])
        try:
            return _row(change_member(actor, user.pk, options["role"]))
        except NotFound:
            raise NotFound(f"{user.email} is not a member here.") from None

    def remove(self, options: dict[str, Any]) -> Row:
        actor, user = self.actor(options), user_of(options["email"])
        try:
            remove_member(actor, user.pk)
        except NotFound:
            raise NotFound(f"{user.email} is not a member here.") from None
        return {"removed": user.email}


def _row(member: Member) -> Row:
    return {
        "email": member.user.email,
        "name": member.user.display_name,
        "role": member.role,
        "since": f"{member.joined_at:%Y-%m-%d}",
    }
