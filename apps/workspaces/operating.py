"""The frame of the operator's commands that act inside one workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q

from apps.accounts.operating import OperatorCommand
from apps.accounts.selectors import need_platform
from apps.core.errors import Conflict, NotFound
from apps.workspaces.models import ApiToken, Member, TokenKind, Workspace, WorkspaceStatus
from apps.workspaces.selectors import operator_actor

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor, Caller


class WorkspaceCommand(OperatorCommand):
    """As `OperatorCommand`; every verb has `--workspace SLUG`."""

    def add_common(self, parser: Any) -> None:
        parser.add_argument("--workspace", required=True, metavar="SLUG", help="where to act")
        super().add_common(parser)

    def actor(self, options: dict[str, Any]) -> Actor:
        """The operator inside the workspace of `--workspace`. Raises NotFound, in words."""
        caller = self.caller(options)
        return operator_actor(caller, workspace_id_of(caller, options["workspace"]))


def workspace_id_of(caller: Caller, slug: str) -> UUID:
    """The id behind a slug, among all workspaces: operators only. Raises NotFound, in words."""
    need_platform(caller)
    rows = Workspace.objects.exclude(status=WorkspaceStatus.REMOVED)
    found = rows.filter(slug=slug.replace("\x00", "")).values_list("id", flat=True).first()
    if found is None:
        raise NotFound(f"There is no workspace {slug!r}.")
    workspace_id: UUID = found
    return workspace_id


def token_id_of(actor: Actor, prefix: str) -> UUID:
    """The live credential whose shown beginning is `prefix`: of the workspace, or everywhere of a member.

    Raises NotFound, and Conflict when several begin so.
    """
    people = Member.objects.in_workspace(actor.workspace_id).values("user_id")
    here = Q(workspace_id=actor.workspace_id) | Q(workspace_id=None, user_id__in=people)
    rows = ApiToken.objects.filter(here, prefix__startswith=prefix, revoked_at=None)
    found = list(rows.exclude(kind=TokenKind.SESSION).values_list("id", flat=True)[:2])
    if not prefix or not found:
        raise NotFound("There is no live token with this prefix in the workspace.")
    if len(found) > 1:
        raise Conflict("Several tokens begin so: give more of the prefix.")
    token_id: UUID = found[0]
    return token_id
