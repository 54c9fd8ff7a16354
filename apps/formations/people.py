"""Reading who the end users of a formation are (contract/muxi.md §5.1, §5.8).

An end user needs no row: whoever an application names is one, under that name. A row is made when the
application asks for an id of ours, or gives a user further names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.actor import Scope
from apps.core.rows import execute
from apps.formations.errors import EndUserNotFound
from apps.formations.models import EndUser, EndUserIdentifier

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

SINGLE = "0"  # everybody, in a formation that does not tell its users apart; who is not named
MOST_IDENTIFIERS = 50  # of one end user
# A name may not be a user's id and another's name at once, so that at most one row is found.
_KNOWN = """SELECT u.muxi_user_id FROM formations_enduseridentifier i
  JOIN formations_enduser u ON u.workspace_id = i.workspace_id AND u.id = i.end_user_id
 WHERE i.workspace_id = %s AND i.identifier = %s"""


def folded(name: str) -> str:
    """As names are compared: blanks around it do not count, an e-mail's case neither."""
    name = name.strip()
    return name.lower() if "@" in name else name


def known_as(home_id: UUID, name: str) -> str:
    """The `muxi_user_id` behind a folded name; the name itself where nobody has it. One query.

    Not remembered: whoever is linked is the same person from the next request on, in every process.
    """
    rows = execute(_KNOWN, [home_id, name])
    return str(rows[0][0]) if rows else name


def find_end_user(actor: Actor, name: str) -> EndUser | None:
    """By id or by another name, folded; None for who has no row."""
    actor.need(Scope.READ)
    found = known_as(actor.workspace_id, name)
    user: EndUser | None = (
        EndUser.objects.in_workspace(actor.workspace_id).filter(muxi_user_id=found).first()
    )
    return user


def get_end_user(actor: Actor, name: str) -> EndUser:
    """As `find_end_user`; raises EndUserNotFound."""
    user = find_end_user(actor, folded(name))
    if user is None:
        raise EndUserNotFound
    return user


def list_identifiers(actor: Actor, user: EndUser) -> list[EndUserIdentifier]:
    """A user's further names, oldest first."""
    actor.need(Scope.READ)
    rows = EndUserIdentifier.objects.in_workspace(actor.workspace_id).filter(end_user=user)
    return list(rows.order_by("created_at", "id")[:MOST_IDENTIFIERS])
