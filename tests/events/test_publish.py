"""The log: consecutive numbers, one transaction with the change, news after the commit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.core.actor import Actor
from apps.core.facts import Fact
from apps.core.ids import uuid7
from apps.events import nudge, selectors
from apps.events.models import Event, StreamHead
from apps.events.services import NotInTransaction, publish, subscribe, unsubscribe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cast import Aurora


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Fact):
    name: ClassVar[str] = "test.said"
    subject: ClassVar[tuple[str, str]] = ("session", "session_id")
    session_id: UUID | None = None
    run_id: UUID | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidLoudly(Said):
    name: ClassVar[str] = "test.said_loudly"


@pytest.fixture
def heard() -> Iterator[list[str]]:
    texts: list[str] = []

    def hear(actor: Actor, fact: Said) -> None:
        assert connection.in_atomic_block
        texts.append(fact.text)

    subscribe(Said, hear)
    subscribe(Said, hear)
    yield texts
    unsubscribe(Said, hear)


@pytest.fixture
def nudges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, int]]:
    sent: list[tuple[UUID, int]] = []
    monkeypatch.setattr(nudge, "committed", lambda ws, seq, sessions: sent.append((ws, seq)))
    return sent


def test_the_facts_of_one_call_take_consecutive_numbers(aurora: Aurora) -> None:
    before = selectors.head(aurora.ada)
    session = uuid7()
    with transaction.atomic():
        last = publish(aurora.ada, *(Said(text=str(n), session_id=session) for n in range(3)))
    rows = selectors.events_after(aurora.ada, before)
    assert [row.seq for row in rows] == [before + 1, before + 2, before + 3]
    assert last == before + 3 == selectors.head(aurora.ada)
    assert [row.payload["text"] for row in rows] == ["0", "1", "2"]
    assert {row.subject_id for row in rows} == {session}
    assert {row.user_id for row in rows} == {aurora.ada.user_id}


def test_one_call_is_one_statement(aurora: Aurora, count_queries) -> None:
    with transaction.atomic(), count_queries(1):
        publish(aurora.ada, Said(text="a"), Said(text="b"), Said(text="c"))


def test_the_first_fact_of_a_workspace_makes_its_head(aurora: Aurora) -> None:
    StreamHead.objects.all().delete()
    Event.objects.all().delete()
    with transaction.atomic():
        assert publish(aurora.ada, Said()) == 1


def test_publishing_outside_a_transaction_is_refused(
    aurora: Aurora, transactional_db: None
) -> None:
    with pytest.raises(NotInTransaction):
        publish(aurora.ada, Said())


def test_workspaces_are_numbered_apart(aurora: Aurora, borealis: Aurora) -> None:
    mine, theirs = selectors.head(aurora.ada), selectors.head(borealis.mallory)
    with transaction.atomic():
        assert publish(aurora.ada, Said()) == mine + 1
        assert publish(borealis.mallory, Said(text="secret")) == theirs + 1
    assert [row.name for row in selectors.events_after(aurora.ada, mine)] == ["test.said"]
    assert "secret" not in str(selectors.events_after(aurora.ada, mine))


def test_a_subscriber_runs_in_the_transaction_and_hears_subclasses_once(
    aurora: Aurora, heard: list[str]
) -> None:
    with transaction.atomic():
        publish(aurora.ada, Said(text="a"), SaidLoudly(text="B"))
    assert heard == ["a", "B"]


def test_a_failing_subscriber_fails_the_change(aurora: Aurora, nudges) -> None:
    def refuse(actor: Actor, fact: Said) -> None:
        raise ValueError("no")

    before = selectors.head(aurora.ada)
    subscribe(Said, refuse)
    try:
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            publish(aurora.ada, Said())
    finally:
        unsubscribe(Said, refuse)
    assert selectors.head(aurora.ada) == before
    assert nudges == []


def test_a_rollback_publishes_nothing_and_leaves_no_gap(
    aurora: Aurora, nudges, transactional_db: None
) -> None:
    before = selectors.head(aurora.ada)
    with transaction.atomic():
        publish(aurora.ada, Said(text="never"))
        transaction.set_rollback(True)
    assert nudges == []
    with transaction.atomic():
        assert publish(aurora.ada, Said(text="said")) == before + 1
    assert [seq for _, seq in nudges] == [before + 1]


def test_a_nudge_that_fails_never_fails_the_change(
    aurora: Aurora, transactional_db: None, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    def broken(*args: object) -> None:
        raise ConnectionError("the layer is gone")

    monkeypatch.setattr(nudge, "committed", broken)
    with transaction.atomic():
        seq = publish(aurora.ada, Said(text="kept"))
    assert selectors.events_after(aurora.ada, seq - 1)[0].payload["text"] == "kept"


WRITERS, WRITES = 16, 25


@pytest.fixture
def identities(transactional_db: None) -> Iterator[None]:
    """A sequence that gives numbers as an identity column does: before the head is locked."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE events_test_identity")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP SEQUENCE events_test_identity")


@pytest.mark.slow
def test_sixteen_writers_leave_no_gap_and_a_reader_by_number_misses_nothing(
    aurora: Aurora, identities: None
) -> None:
    """With its control: a reader by the identity column loses events in the same run."""
    start = selectors.head(aurora.ada)
    by_seq: list[int] = []
    by_id: set[int] = set()
    done = threading.Event()
    reader = threading.Thread(target=read_both_ways, args=(aurora.ada, done, by_seq, by_id, start))
    writers = [threading.Thread(target=write_many, args=(aurora.ada,)) for _ in range(WRITERS)]
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join(60)
    done.set()
    reader.join(60)
    total = WRITERS * WRITES
    assert by_seq == list(range(start + 1, start + total + 1))
    assert len(by_id) < total, "the control lost nothing: this test would prove nothing"


def write_many(actor: Actor) -> None:
    try:
        for n in range(WRITES):
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT nextval('events_test_identity')")
                    identity = cursor.fetchone()[0]
                if n % 3 == 0:
                    time.sleep(0.002)
                publish(actor, Said(text=str(identity)))
    finally:
        connection.close()


def read_both_ways(
    actor: Actor, done: threading.Event, by_seq: list[int], by_id: set[int], cursor: int
) -> None:
    """Follow the log by `seq` from `cursor`, and, as the control, by the highest identity seen so far."""
    highest = 0
    said = Event.objects.filter(workspace_id=actor.workspace_id, name=Said.name)
    try:
        while True:
            finished = done.is_set()
            rows = selectors.events_after(actor, cursor)
            by_seq.extend(row.seq for row in rows)
            cursor = rows[-1].seq if rows else cursor
            seen = [int(text) for text in said.values_list("payload__text", flat=True)]
            later = [identity for identity in seen if identity > highest]
            by_id.update(later)
            highest = max(later, default=highest)
            if finished:
                return
    finally:
        connection.close()
