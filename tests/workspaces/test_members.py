from __future__ import annotations

from uuid import uuid4

import pytest

from apps.accounts.models import AuditEntry
from apps.core import announce
from apps.core.actor import Role
from apps.core.errors import Forbidden, InvalidInput, NotFound
from apps.workspaces import selectors, services
from apps.workspaces.errors import AlreadyMember, LastOwner
from apps.workspaces.models import Member

pytestmark = pytest.mark.django_db


@pytest.fixture
def cut(monkeypatch):
    """What was cut off from its live streams."""
    heard = []
    monkeypatch.setattr(announce, "_revoker", lambda **whom: heard.append(whom))
    return heard


def roles(world):
    return {
        seat.user.display_name: seat.role for seat in selectors.list_members(world.actor("cleo"))
    }


def test_everybody_inside_sees_who_belongs(world, count_queries):
    assert roles(world) == {"Ada": "owner", "Ben": "member", "Cleo": "viewer"}
    actor = world.actor("cleo")
    with count_queries(1):
        [seat.user.email for seat in selectors.list_members(actor)]


def test_a_seat_is_given_changed_and_taken_with_a_record_of_each(world, cut):
    mallory = world.users["mallory"].pk
    services.add_member(world.actor("ada"), mallory, Role.VIEWER)
    services.change_member(world.actor("ada"), mallory, Role.MEMBER)
    services.remove_member(world.actor("ada"), mallory)

    written = AuditEntry.objects.filter(subject_id=str(mallory), workspace_id=world.aurora.pk)
    assert [(e.action, e.before, e.after) for e in written.order_by("created_at", "id")] == [
        ("member.added", None, {"role": "viewer"}),
        ("member.changed", {"role": "viewer"}, {"role": "member"}),
        ("member.removed", {"role": "member"}, None),
    ]
    assert cut[-1]["user_id"] == mallory
    assert "Mallory" not in roles(world)


def test_a_second_seat_is_refused(world):
    with pytest.raises(AlreadyMember):
        services.add_member(world.actor("ada"), world.users["ben"].pk)


@pytest.mark.parametrize("role", ["king", "", None, 3])
def test_an_unknown_role_is_refused(world, role):
    with pytest.raises(InvalidInput):
        services.change_member(world.actor("ada"), world.users["ben"].pk, role)


def test_an_unknown_user_is_refused(world):
    with pytest.raises(InvalidInput):
        services.add_member(world.actor("ada"), uuid4())


def test_somebody_without_a_seat_is_not_found(world):
    for act in (
        lambda: services.change_member(world.actor("ada"), world.users["mallory"].pk, Role.ADMIN),
        lambda: services.remove_member(world.actor("ada"), world.users["mallory"].pk),
        lambda: selectors.get_member(world.actor("ada"), world.users["mallory"].pk),
    ):
        with pytest.raises(NotFound):
            act()


def test_the_last_owner_can_be_neither_demoted_nor_removed_nor_leave(world):
    ada = world.users["ada"].pk
    with pytest.raises(LastOwner):
        services.change_member(world.actor("ada"), ada, Role.ADMIN)
    with pytest.raises(LastOwner):
        services.remove_member(world.actor("ada"), ada)
    assert roles(world)["Ada"] == "owner"


def test_ownership_moves_by_making_the_new_owner_first(world):
    services.change_member(world.actor("ada"), world.users["ben"].pk, Role.OWNER)
    services.change_member(world.actor("ada"), world.users["ada"].pk, Role.ADMIN)
    assert (roles(world)["Ben"], roles(world)["Ada"]) == ("owner", "admin")


def test_a_closed_account_does_not_count_as_an_owner(world):
    services.change_member(world.actor("ada"), world.users["ben"].pk, Role.OWNER)
    world.users["ben"].is_active = False
    world.users["ben"].save()
    with pytest.raises(LastOwner):
        services.remove_member(world.actor("ada"), world.users["ada"].pk)


def test_an_admin_neither_makes_nor_unmakes_owners(world):
    services.change_member(world.actor("ada"), world.users["ben"].pk, Role.ADMIN)
    ben = world.actor("ben")
    for act in (
        lambda: services.change_member(ben, ben.user_id, Role.OWNER),
        lambda: services.change_member(ben, world.users["ada"].pk, Role.VIEWER),
        lambda: services.remove_member(ben, world.users["ada"].pk),
        lambda: services.add_member(ben, world.users["mallory"].pk, Role.OWNER),
    ):
        with pytest.raises(Forbidden):
            act()


def test_everybody_may_leave(world):
    for who in ("ben", "cleo"):
        services.remove_member(world.actor(who), world.users[who].pk)
    assert Member.objects.in_workspace(world.aurora.pk).count() == 1


def test_a_seat_in_one_workspace_is_none_in_another(world):
    with pytest.raises(NotFound):
        world.actor("ada", world.borealis)
