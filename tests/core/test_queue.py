"""Waking workers after the commit: once a transaction, and never for what was taken back."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps.core.queue import enqueue

pytestmark = pytest.mark.django_db(transaction=True)


class TakenBack(Exception):
    pass


def test_the_same_nudge_twice_in_a_transaction_is_sent_once(recording_queue):
    with transaction.atomic():
        enqueue("tasks.dispatch", workspace_id=1)
        with transaction.atomic():
            enqueue("tasks.dispatch", workspace_id=1)
        enqueue("tasks.dispatch", workspace_id=2)
    assert recording_queue == [
        ("tasks.dispatch", {"workspace_id": 1}),
        ("tasks.dispatch", {"workspace_id": 2}),
    ]


def test_two_transactions_send_two(recording_queue):
    for _ in range(2):
        with transaction.atomic():
            enqueue("tasks.dispatch", workspace_id=1)
    assert len(recording_queue) == 2


def test_a_savepoint_that_is_taken_back_takes_only_its_own_nudge(recording_queue):
    with transaction.atomic():
        with pytest.raises(TakenBack), transaction.atomic():
            enqueue("tasks.dispatch", workspace_id=1)
            raise TakenBack
        enqueue("tasks.dispatch", workspace_id=1)
    assert recording_queue == [("tasks.dispatch", {"workspace_id": 1})]


def test_a_nudge_of_an_open_savepoint_does_not_stand_in_for_the_outer_one(recording_queue):
    with transaction.atomic():
        with pytest.raises(TakenBack), transaction.atomic():
            with transaction.atomic():
                enqueue("tasks.dispatch", workspace_id=1)
            enqueue("tasks.dispatch", workspace_id=1)
            raise TakenBack
        enqueue("tasks.dispatch", workspace_id=1)
    assert recording_queue == [("tasks.dispatch", {"workspace_id": 1})]
