from __future__ import annotations

import pytest
from django.db import transaction

from apps.accounts.errors import OperatorsOnly
from apps.accounts.models import AuditEntry
from apps.core import announce
from apps.core.actor import Actor, CallerKind, Role, Scope
from apps.core.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    ScopeInsufficient,
    WorkspaceMismatch,
)
from apps.workspaces import events, selectors, services
from apps.workspaces.errors import HasChildren, LastWorkspace, SlugTaken
from apps.workspaces.models import Workspace
from apps.workspaces.services import workspaces as workspace_services

pytestmark = pytest.mark.django_db


@pytest.fixture
def announced(monkeypatch):
    """Every fact announced, with the workspace it was announced in."""
    heard = []
    monkeypatch.setattr(
        announce,
        "_publisher",
        lambda actor, *facts: heard.extend((actor.workspace_id, f) for f in facts),
    )
    return heard


def audited(action):
    return AuditEntry.objects.filter(action=action)


def test_whoever_creates_a_workspace_owns_it(world, announced):
    made = services.create_workspace(world.login("ben"), name=" Dawn ", slug="dawn")

    actor = selectors.actor_in(world.login("ben"), made.pk)
    assert (made.name, actor.role, made.created_by_id) == (
        "Dawn",
        Role.OWNER,
        world.users["ben"].pk,
    )
    assert announced == [
        (made.pk, events.WorkspaceCreated(workspace_id=made.pk, slug="dawn", title="Dawn"))
    ]
    entry = audited("workspace.created").get(workspace_id=made.pk)
    assert (entry.user_id, entry.after["slug"]) == (world.users["ben"].pk, "dawn")


def test_a_slug_is_taken_once(world):
    with pytest.raises(SlugTaken):
        services.create_workspace(world.login("ben"), name="Another", slug="aurora")
    assert Workspace.objects.filter(slug="aurora").count() == 1


@pytest.mark.parametrize(
    "slug",
    ["", "-a", "a-", "A", "a b", "ü", "a/b", "a\n", "x" * 101, "v1", "me", "instances", 5, None],
)
def test_what_is_no_slug_is_refused_and_makes_nothing(world, slug):
    before = Workspace.objects.count()
    with pytest.raises(InvalidInput) as refused:
        services.create_workspace(world.login("ben"), name="Dawn", slug=slug)
    assert list(refused.value.details["fields"]) == ["slug"]
    assert Workspace.objects.count() == before


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "a\nb", "x" * 101, 5, None])
def test_what_is_no_name_is_refused(world, name):
    with pytest.raises(InvalidInput) as refused:
        services.create_workspace(world.login("ben"), name=name, slug="dawn")
    assert list(refused.value.details["fields"]) == ["name"]


def test_only_an_account_wide_write_credential_of_a_person_creates(world):
    bound = selectors.caller_of_token(world.token("ada", "admin", world.aurora))
    reader = selectors.caller_of_token(world.token("ada", "read"))
    for caller, error in [(bound, WorkspaceMismatch), (reader, ScopeInsufficient)]:
        with pytest.raises(error):
            services.create_workspace(caller, name="Dawn", slug="dawn")


def test_a_workspace_nests_where_the_creator_is_admin(world):
    child = services.create_workspace(
        world.login("ada"), name="Child", slug="child", parent_id=world.aurora.pk
    )
    assert child.parent_id == world.aurora.pk
    for who, error in [("ben", ScopeInsufficient), ("mallory", NotFound)]:
        with pytest.raises(error):
            services.create_workspace(
                world.login(who), name="X", slug="x1", parent_id=world.aurora.pk
            )


def test_workspaces_do_not_nest_without_end(world):
    parent = None
    for depth in range(workspace_services.MAX_DEPTH):
        parent = services.create_workspace(
            world.login("ben"), name="Deep", slug=f"deep{depth}", parent_id=parent
        ).pk
    with pytest.raises(InvalidInput):
        services.create_workspace(world.login("ben"), name="Deep", slug="deeper", parent_id=parent)


def test_an_admin_changes_name_and_picture_and_the_audit_tells_both_sides(world, announced):
    services.update_workspace(
        world.actor("ada"), name="Aurora Two", avatar_url="https://example.org/a.png"
    )
    entry = audited("workspace.changed").get()
    assert (entry.before["name"], entry.after["name"]) == ("Aurora", "Aurora Two")
    assert announced == [
        (
            world.aurora.pk,
            events.WorkspaceChanged(workspace_id=world.aurora.pk, fields=("avatar_url", "name")),
        )
    ]
    assert services.update_workspace(world.actor("ada"), avatar_url="").avatar_url == ""


def test_a_change_to_the_same_is_no_change(world, announced):
    services.update_workspace(world.actor("ada"), name="Aurora")
    assert not announced
    assert not audited("workspace.changed").exists()


@pytest.mark.parametrize("who", ["ben", "cleo"])
def test_members_and_viewers_do_not_administer(world, who):
    actor = world.actor(who)
    for act in (
        lambda: services.update_workspace(actor, name="Mine"),
        lambda: services.update_settings(actor, {"history": "full"}),
        lambda: services.delete_workspace(actor),
        lambda: services.issue_hmac_key(actor, name="ci"),
        lambda: services.add_member(actor, world.users["mallory"].pk),
        lambda: services.change_member(actor, world.users["ada"].pk, Role.VIEWER),
        lambda: services.remove_member(actor, world.users["ada"].pk),
    ):
        with pytest.raises(ScopeInsufficient):
            act()


def test_only_an_owner_removes_the_workspace(world):
    services.change_member(world.actor("ada"), world.users["ben"].pk, Role.ADMIN)
    with pytest.raises(Forbidden):
        services.delete_workspace(world.actor("ben"))


def test_nobody_removes_their_last_workspace(world):
    with pytest.raises(LastWorkspace):
        services.delete_workspace(world.actor("ada"))
    assert selectors.get_workspace(world.actor("ada")).status == "active"


def test_a_removed_workspaces_slug_is_free_again(world):
    services.create_workspace(world.login("ada"), name="Dawn", slug="dawn")
    services.delete_workspace(world.actor("ada"))
    services.create_workspace(world.login("mallory"), name="Aurora", slug="aurora")
    assert audited("workspace.removed").get().before["slug"] == "aurora"


def test_a_parent_is_not_removed_from_above_its_children(world):
    services.create_workspace(
        world.login("ada"), name="Child", slug="child", parent_id=world.aurora.pk
    )
    with pytest.raises(HasChildren):
        services.delete_workspace(world.actor("ada"))


def test_only_operators_suspend_and_they_say_why(world, announced):
    with pytest.raises(OperatorsOnly):
        services.suspend_workspace(world.actor("ada"), reason="spite")
    operator = Actor(world.aurora.pk, Scope.ADMIN, CallerKind.OPERATOR, platform=True)
    with pytest.raises(InvalidInput):
        services.suspend_workspace(operator, reason=" ")
    services.suspend_workspace(operator, reason="unpaid")
    services.suspend_workspace(operator, reason="again")

    assert audited("workspace.suspended").get().reason == "unpaid"
    assert [fact.name for _, fact in announced] == ["workspace.suspended"]


def test_a_rolled_back_change_leaves_no_record(world):
    with transaction.atomic():
        services.update_workspace(world.actor("ada"), name="Gone")
        transaction.set_rollback(True)
    assert not audited("workspace.changed").exists()


def test_when_the_record_cannot_be_written_the_change_does_not_happen(world, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the audit table is read-only")

    monkeypatch.setattr(workspace_services, "record_change", broken)
    with pytest.raises(RuntimeError):
        services.update_workspace(world.actor("ada"), name="Unrecorded")
    assert selectors.get_workspace(world.actor("ada")).name == "Aurora"


def test_everybody_lists_their_own_workspaces_with_their_role(world):
    services.create_workspace(world.login("ben"), name="Dawn", slug="dawn")
    seen = [(row.slug, row.caller_role) for row in selectors.list_workspaces(world.login("ben"))]
    assert seen == [("dawn", "owner"), ("aurora", "member")]
    bound = selectors.caller_of_token(world.token("ben", "read", world.aurora))
    assert [row.slug for row in selectors.list_workspaces(bound)] == ["aurora"]


def test_a_slug_finds_only_ones_own_workspace(world):
    assert selectors.find_workspace_id(world.login("ada"), "aurora") == world.aurora.pk
    for slug in ("borealis", "absent", "nul\x00"):
        with pytest.raises(NotFound):
            selectors.find_workspace_id(world.login("ada"), slug)
