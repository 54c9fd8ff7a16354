"""Tools that act as the person who asked: with the rights that person has at that moment."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from django.db import connection, transaction

from apps.accounts.models import AuditEntry, User
from apps.core.actor import Actor, CallerKind, Role, Scope
from apps.core.errors import InvalidInput
from apps.core.ids import uuid7
from apps.core.tools import ORCHESTRATOR, ToolContext, ToolFailed, find
from apps.formations.models import Agent
from apps.formations.services import create_agent
from apps.workspaces.asking import asking_actor, orchestrator_tool
from apps.workspaces.models import ApiToken
from apps.workspaces.services import (
    change_member,
    issue_session_token,
    issue_token,
    remove_member,
    revoke_key,
)
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asked(aurora):
    """`asked("ben")`: the context of a turn that Ben's token asked for; `token=None`: he was logged in."""

    def context(who: str, **other) -> ToolContext:
        user = getattr(aurora, f"{who}_user").pk
        engine = Actor.for_engine(aurora.id, user_id=user)
        token = other.get("token", getattr(aurora, f"{who}_token_id"))
        return ToolContext(engine, uuid7(), None, None, "k", token_id=token)

    return context


def call(name, context, /, **arguments):
    return asyncio.run(find(name).call(context, arguments))


def refusal(name, context, /, **arguments):
    with pytest.raises(ToolFailed) as refused:
        call(name, context, **arguments)
    assert not Agent.unscoped.filter(name="poet").exists()
    return str(refused.value)


def test_a_tool_acts_as_the_one_who_asked(asked, aurora):
    assert call("add_agent", asked("ben"), name="poet", role="rhymes") == "Added the agent poet."
    entry = AuditEntry.objects.filter(action="agent.created").latest("created_at")
    assert (entry.user_id, entry.token_id) == (aurora.ben_user.pk, aurora.ben_token_id)
    assert "- poet; role: rhymes" in call("list_agents", asked("cleo"))


def test_a_viewer_reads_and_changes_nothing(asked):
    assert "Nothing" in call("get_memory", asked("cleo"))
    assert "scope" in refusal("add_agent", asked("cleo"), name="poet")
    assert "scope" in refusal("save_memory", asked("cleo"), content="mine now")


def test_a_revoked_token_does_nothing_more(asked, aurora):
    context = asked("ben")
    revoke_key(aurora.ada, aurora.ben_token_id, reason="lost")
    assert "revoked" in refusal("add_agent", context, name="poet")
    assert "revoked" in refusal("list_agents", context)


def test_an_expired_token_a_demotion_a_removal_and_a_closed_account_count_at_once(asked, aurora):
    context = asked("ben")
    change_member(aurora.ada, aurora.ben_user.pk, Role.VIEWER)
    assert "scope" in refusal("add_agent", context, name="poet")
    remove_member(aurora.ada, aurora.ben_user.pk)
    assert "no member" in refusal("list_agents", context)
    ApiToken.objects.filter(pk=aurora.cleo_token_id).update(expires_at="2020-01-01T00:00:00Z")
    assert "expired" in refusal("list_agents", asked("cleo"))
    User.objects.filter(pk=aurora.ada_user.pk).update(is_active=False)
    assert refusal("list_agents", asked("ada"))
    assert refusal("list_agents", asked("ada", token=None))


def test_a_reading_token_of_an_owner_only_reads(asked, aurora):
    row, _ = issue_token(aurora.ada_login, name="look", scope="read", workspace_id=aurora.id)
    assert "scope" in refusal("add_agent", asked("ada", token=row.pk), name="poet")
    assert call("get_config", asked("ada", token=row.pk)).startswith("{")


def test_a_session_token_opens_no_tools(asked, aurora):
    issue_session_token(aurora.ada, uuid7())
    token = ApiToken.objects.get(kind="session")
    assert "session" in refusal("list_agents", asked("ada", token=token.pk))


def test_a_login_has_its_role_and_nobody_has_nothing(asked, aurora):
    with transaction.atomic():
        actor = asking_actor(asked("ben", token=None))
    assert (actor.kind, actor.scope, actor.role) == (CallerKind.LOGIN, Scope.WRITE, Role.MEMBER)
    nobody = replace(asked("ada", token=None), actor=Actor.for_engine(aurora.id))
    assert "Nobody" in refusal("list_agents", nobody)


def test_a_token_of_another_workspace_opens_nothing_here(asked, aurora, borealis):
    foreign = asked("ada", token=borealis.mallory_token_id)
    assert refusal("list_agents", foreign)
    everywhere, _ = issue_token(borealis.mallory_login, name="all", scope="admin")
    assert refusal("add_agent", asked("ada", token=everywhere.pk), name="poet")


def test_what_is_wrong_is_said_in_words(asked):
    def refuse(_actor, _arguments):
        raise InvalidInput(fields={"title": ["Too short."]})

    tool = orchestrator_tool("odd", "Odd.", {"title": {"type": "string"}}, refuse)
    assert tool.tags == {ORCHESTRATOR}
    with pytest.raises(ToolFailed, match="title: Too short"):
        asyncio.run(tool.call(asked("ada"), {}))


def revoked_in_between(aurora, context, *, held):
    """A tool reads its rights, the token is revoked, the tool writes: which of them came first?"""
    order, read = [], threading.Event()

    def write():
        with transaction.atomic():
            actor = asking_actor(context)
            if not held:  # control: what was read is let go before it is used
                transaction.set_rollback(True)
        with transaction.atomic():
            if held:
                actor = asking_actor(context)
            read.set()
            time.sleep(0.4)
            create_agent(actor, name="poet")
            transaction.on_commit(lambda: order.append("written"))

    def revoke():
        read.wait(10)
        revoke_key(aurora.ada, aurora.ben_token_id)
        order.append("revoked")

    outcome = race_each([(write, (), {}), (revoke, (), {})])
    assert not outcome.raised
    return order


def test_nothing_is_written_after_the_revocation(asked, aurora):
    assert revoked_in_between(aurora, asked("ben"), held=True) == ["written", "revoked"]


def test_the_race_with_a_revocation_is_real(asked, aurora):
    """Control: rights that are not held let the change come after the revocation."""
    assert revoked_in_between(aurora, asked("ben"), held=False) == ["revoked", "written"]


def test_tools_and_revocations_at_once_never_wait_for_each_other_in_vain(asked, aurora):
    def add(place):
        with suppress(ToolFailed):  # a deadlock is no ToolFailed
            call("add_agent", asked("ben"), name=f"agent {place}")

    calls = [(add, (place,), {}) for place in range(8)]
    calls += [(change_member, (aurora.ada, aurora.ben_user.pk, Role.ADMIN), {})]
    calls += [(revoke_key, (aurora.ada, aurora.ben_token_id), {})]
    assert not race_each(calls).raised
    connection.close()


def test_rights_are_not_read_where_nothing_would_hold_them(asked):
    with pytest.raises(RuntimeError, match="transaction"):
        asking_actor(asked("ben"))
