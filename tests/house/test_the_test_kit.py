"""The fixtures themselves: a kit that cannot fail proves nothing."""

from __future__ import annotations

import socket
import threading

import pytest
from django.db import transaction

from apps.core.queue import enqueue
from apps.workspaces.models import Workspace
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
