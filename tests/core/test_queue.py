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


def take_back(*, nested: bool) -> None:
    """Asks for the nudge in a savepoint that is taken back, and in one of its own within it."""
    with transaction.atomic():
        if nested:
            with transaction.atomic():
                enqueue("tasks.dispatch", workspace_id=1)
        enqueue("tasks.dispatch", workspace_id=1)
        raise TakenBack


@pytest.mark.parametrize("nested", [False, True])
def test_what_a_savepoint_takes_back_stands_in_for_nothing(recording_queue, nested):
    with transaction.atomic():
        with pytest.raises(TakenBack):
            take_back(nested=nested)
        enqueue("tasks.dispatch", workspace_id=1)
    assert recording_queue == [("tasks.dispatch", {"workspace_id": 1})]
