"""Retention removes what is old, in bounded batches, and never gives a number twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from apps.core.actor import Actor
from apps.core.clock import now
from apps.events import selectors
from apps.events.jobs import compact
from apps.events.models import Event
from tests.events.conftest import tell


def age(days: int, upto: int) -> None:
    Event.objects.filter(seq__lte=upto).update(created_at=now() - timedelta(days=days))


def test_only_what_is_older_than_the_retention_goes(actor: Actor, settings: Any) -> None:
    settings.EVENT_RETENTION_DAYS = 7
    tell(actor, *(str(n) for n in range(10)))
    age(8, 6)
    assert compact() == 6
    assert [row.seq for row in selectors.events_after(actor, 0)] == [7, 8, 9, 10]
    assert selectors.oldest(actor) == 7


def test_batches_are_bounded(actor: Actor, count_queries: Any) -> None:
    tell(actor, *(str(n) for n in range(10)))
    age(40, 10)
    with count_queries(2):
        assert compact(batch=3, batches=2) == 6


def test_numbers_go_on_after_everything_was_removed(actor: Actor) -> None:
    tell(actor, "a", "b")
    age(40, 2)
    compact()
    assert tell(actor, "c") == 3


def test_zero_days_keep_everything(actor: Actor, settings: Any) -> None:
    settings.EVENT_RETENTION_DAYS = 0
    tell(actor, "a")
    age(4000, 1)
    assert compact() == 0
