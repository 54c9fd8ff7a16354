"""Verbs on the end users of a formation: give them an id, and further names (contract/muxi.md §5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.ids import uuid7, wire_id
from apps.core.rows import execute
from apps.events.services import publish, publish_all
from apps.formations.errors import EndUserNotFound, IdentifierTaken, TooMany
from apps.formations.events import IdentifierLinked, IdentifierUnlinked
from apps.formations.models import EndUser, EndUserIdentifier, UserCredential
from apps.formations.people import MOST_IDENTIFIERS, SINGLE, find_end_user, folded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.actor import Actor

LONGEST = 255  # characters
LONGEST_TYPE = 50
USUAL_TYPE = "custom"
# Names of users are looked at and given one writer at a time: no name may become two people's.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('end users:' || %s, 0))"


@transaction.atomic
def resolve_end_user(actor: Actor, name: str, *, type_name: str = USUAL_TYPE) -> EndUser:
    """The user of this name; one nobody knows gets an id. Raises InvalidInput."""
    actor.need(Scope.WRITE)
    name = _checked(name, type_name)
    known = find_end_user(actor, name)
    if known is not None:
        return known
    execute(_LOCK, [str(actor.workspace_id)])
    known = find_end_user(actor, name)  # another request made it a moment ago
    if known is not None:
        return known
    user = _insert(actor, "")
    _link(actor, user, [(name, type_name)])
    return user


@transaction.atomic
def link_identifiers(
    actor: Actor, muxi_user_id: str, identifiers: Sequence[tuple[str, str]]
) -> EndUser:
    """Give a user further names, each with a type; "" makes a new user. All or none.

    What was kept under such a name so far (sessions, memories, credentials, jobs) is the user's from
    now on. Raises InvalidInput, IdentifierTaken (another user's name or id), TooMany.
    """
    actor.need(Scope.WRITE)
    names = [(_checked(name, type_name), type_name) for name, type_name in identifiers]
    wanted = _checked(muxi_user_id, USUAL_TYPE) if muxi_user_id else ""
    execute(_LOCK, [str(actor.workspace_id)])
    user = find_end_user(actor, wanted) if wanted else None
    user = user or _insert(actor, wanted)
    _link(actor, user, names)
    return user


@transaction.atomic
def unlink_identifier(actor: Actor, name: str) -> EndUser:
    """Take a name from its user, who keeps all that was kept. Raises EndUserNotFound."""
    actor.need(Scope.WRITE)
    execute(_LOCK, [str(actor.workspace_id)])
    rows = EndUserIdentifier.objects.in_workspace(actor.workspace_id).select_related("end_user")
    row = rows.filter(identifier=folded(name)).first()
    if row is None:
        raise EndUserNotFound
    user: EndUser = row.end_user
    shown = {"identifier": row.identifier, "type": row.type, "muxi_user_id": user.muxi_user_id}
    rows.filter(pk=row.pk).delete()
    record_change(actor, "end_user.unlinked", "end_user", user.pk, before=shown)
    publish(
        actor,
        IdentifierUnlinked(
            end_user_id=user.pk, muxi_user_id=user.muxi_user_id, identifier=row.identifier
        ),
    )
    return user


def _insert(actor: Actor, muxi_user_id: str) -> EndUser:
    row_id = uuid7()
    user = EndUser(
        id=row_id,
        workspace_id=actor.workspace_id,
        muxi_user_id=muxi_user_id or wire_id("usr", row_id),
    )
    user.save(force_insert=True)
    shown = {"muxi_user_id": user.muxi_user_id}
    record_change(actor, "end_user.created", "end_user", user.pk, after=shown)
    return user


def _link(actor: Actor, user: EndUser, names: Sequence[tuple[str, str]]) -> None:
    """The names that are new, each a row and a fact; its caller holds the lock."""
    known = {row.identifier: row for row in _known(actor, [name for name, _ in names])}
    of_others = _ids_of_others(actor, user, [name for name, _ in names])
    fresh = {name: kind for name, kind in names if name not in known and name != user.muxi_user_id}
    foreign = [row for row in known.values() if row.end_user_id != user.pk]
    if foreign or of_others:
        raise IdentifierTaken
    mine = EndUserIdentifier.objects.in_workspace(actor.workspace_id).filter(end_user=user)
    if mine.count() + len(fresh) > MOST_IDENTIFIERS:
        raise TooMany
    for name, kind in fresh.items():
        EndUserIdentifier(
            workspace_id=actor.workspace_id, end_user=user, identifier=name, type=kind
        ).save(force_insert=True)
        _adopt_credentials(actor, name, user.muxi_user_id)
        shown = {"identifier": name, "type": kind, "muxi_user_id": user.muxi_user_id}
        record_change(actor, "end_user.linked", "end_user", user.pk, after=shown)
    linked = [
        IdentifierLinked(end_user_id=user.pk, muxi_user_id=user.muxi_user_id, identifier=name)
        for name in fresh
    ]
    publish_all(actor, linked)


def _known(actor: Actor, names: list[str]) -> list[EndUserIdentifier]:
    rows = EndUserIdentifier.objects.in_workspace(actor.workspace_id)
    return list(rows.filter(identifier__in=names))


def _ids_of_others(actor: Actor, user: EndUser, names: list[str]) -> bool:
    rows = EndUser.objects.in_workspace(actor.workspace_id).filter(muxi_user_id__in=names)
    return rows.exclude(pk=user.pk).exists()


def _adopt_credentials(actor: Actor, name: str, muxi_user_id: str) -> None:
    """As the apps above do with theirs when they hear of `IdentifierLinked`."""
    rows = UserCredential.objects.in_workspace(actor.workspace_id)
    rows.filter(end_user=name).update(end_user=muxi_user_id)


def _checked(name: str, type_name: str) -> str:
    """The folded name. Nobody in particular (`0`) is nobody's name: all they said would be somebody's."""
    name = folded(name)
    if not 0 < len(name) <= LONGEST or name == SINGLE or "\x00" in name:
        raise InvalidInput(fields={"identifier": [f"1 to {LONGEST} characters, and not 0."]})
    if not 0 < len(type_name) <= LONGEST_TYPE:
        raise InvalidInput(fields={"type": [f"1 to {LONGEST_TYPE} characters."]})
    return name
