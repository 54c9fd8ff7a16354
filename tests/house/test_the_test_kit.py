"""The fixtures themselves: a kit that cannot fail proves nothing."""

from __future__ import annotations

import re
import socket
import threading

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core.queue import enqueue
from apps.workspaces.credentials import actor_in, caller_of_token
from apps.workspaces.models import Workspace
from tests.support import cast, copies
from tests.support.network import NetworkClosed
from tests.support.queries import QueryCounter


def test_a_connect_to_the_outside_is_refused():
    with socket.socket() as outside, pytest.raises(NetworkClosed):
        outside.connect(("192.0.2.1", 80))


def test_a_look_up_of_an_outside_name_is_refused():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.org", 443)


def test_loopback_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_the_cast_stands_where_it_should(aurora, borealis):
    assert aurora.ada.workspace_id == aurora.id != borealis.mallory.workspace_id
    assert aurora.ada.scope > aurora.ben.scope > aurora.cleo.scope
    assert len({aurora.ada_token, aurora.ben_token, aurora.cleo_token}) == 3


@pytest.mark.django_db
def test_a_copied_cast_is_as_the_services_raise_it():
    """Row for row, up to what differs each time: ids, tokens, moments, unusable passwords."""
    mold = copies.mold_of(cast.raise_aurora)
    again = copies.mold_of.__wrapped__(cast.raise_aurora)
    copied = copies.Names(mold).in_text(mold.statements)
    assert mold.statements != again.statements
    assert plain(copied) == plain(mold.statements) == plain(again.statements)


def plain(statements):
    for pattern in (
        copies.AN_ID,
        copies.A_MOMENT,
        r"\\\\x[0-9a-f]{64}",
        r"pmx_[\w-]+",
        r'"!\w+"',
        r'"id": \d+',
    ):
        statements = re.sub(pattern, "-", statements)
    return statements


def test_a_copied_cast_holds_together(aurora, borealis):
    """What the tests hold in their hands is what the rows say."""
    for person in (*aurora.people.values(), *borealis.people.values()):
        assert caller_of_token(person.token) == person.caller
        assert caller_of_token(person.star_token).user_id == person.user.pk
        assert actor_in(person.caller, person.caller.workspace_id) == person.actor
        stored = User.objects.get(pk=person.user.pk)
        assert {f.name: f.value_from_object(person.user) for f in User._meta.concrete_fields} == {
            f.name: f.value_from_object(stored) for f in User._meta.concrete_fields
        }
    assert Workspace.objects.get(pk=aurora.id).created_at == aurora.workspace.created_at


def test_two_copies_have_nothing_in_common(aurora):
    again = copies.Names(copies.mold_of(cast.raise_aurora))
    assert {str(aurora.id), aurora.ada_token}.isdisjoint(again._new.values())


def test_query_counts_list_what_ran(aurora):
    counter = QueryCounter()
    with pytest.raises(AssertionError, match="workspaces_workspace"), counter(0):
        Workspace.objects.count()


def test_a_query_count_without_with_fails():
    counter = QueryCounter()
    counter(99)
    with pytest.raises(AssertionError, match="without `with`"):
        counter.verify_all_entered()


@pytest.mark.django_db(transaction=True)
def test_the_queue_records_what_is_committed(recording_queue):
    with transaction.atomic():
        enqueue("runs.wake", run_id=1)
        assert recording_queue == []
    assert recording_queue == [("runs.wake", {"run_id": 1})]


def rename_once(workspace_id):
    won = Workspace.objects.filter(pk=workspace_id, name="Aurora").update(name="Dawn")
    if not won:
        raise LookupError


def test_one_runner_wins_a_conditional_update(race, aurora):
    outcome = race(rename_once, aurora.id, runners=8)
    assert outcome.winners == 1
    assert set(outcome.errors) == {LookupError}


def test_the_runners_really_meet(race, aurora):
    """Control: with a read before the write, both pass the check."""
    meeting = threading.Barrier(2, timeout=10)

    def rename_without_guard():
        if Workspace.objects.get(pk=aurora.id).name != "Aurora":
            raise LookupError
        meeting.wait()
        Workspace.objects.filter(pk=aurora.id).update(name="Dawn")

    assert race(rename_without_guard, runners=2).winners == 2
