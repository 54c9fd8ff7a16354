"""Days of a workspace's log (contract/polpo.md §14): what they hold, and what reading them costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.events import logs, words
from apps.events.models import Event
from apps.events.selectors import list_log_entries, list_log_sessions
from tests.live.feeds import Kept, Noted, note, say, spoken_notes

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def notes(aurora):
    Event.objects.filter(workspace_id=aurora.id).delete()
    with spoken_notes():
        yield


def on_day(number, actor, *facts):
    """Facts of the noon that many days after 2026-05-21, a second apart."""
    last = say(actor, *facts)
    for place, seq in enumerate(range(last - len(facts) + 1, last + 1)):
        moment = NOON + timedelta(days=number, seconds=place)
        rows = Event.objects.filter(workspace_id=actor.workspace_id, seq=seq)
        rows.update(created_at=moment)


def sessions(actor):
    return [
        (found.id, found.started_at, found.entries)
        for found in list_log_sessions(actor, surface="polpo")
    ]


def entries(actor, day, **more):
    return list_log_entries(actor, day, surface="polpo", **more)


def test_a_log_is_a_day_newest_first(aurora, borealis):
    on_day(0, aurora.ada, Kept(), Noted(text="a"), Noted(text="b"))
    on_day(1, aurora.ada, Kept())
    on_day(3, aurora.ada, Noted(text="c"))
    on_day(2, borealis.mallory, Noted(text="theirs"))
    assert sessions(aurora.ada) == [
        ("2026-05-24", NOON + timedelta(days=3), 1),
        ("2026-05-21", NOON, 2),
    ]


def test_its_entries_are_the_days_events_in_order(aurora):
    on_day(0, aurora.ada, Noted(text="a"), Kept(), Noted(text="b", twice=True))
    on_day(1, aurora.ada, Noted(text="c"))
    assert entries(aurora.ada, "2026-05-21") == [
        {"ts": "2026-05-21T12:00:00.000Z", "event": "note:taken", "data": {"text": "a"}},
        {"ts": "2026-05-21T12:00:02.000Z", "event": "note:taken", "data": {"text": "b"}},
        {"ts": "2026-05-21T12:00:02.000Z", "event": "note:again", "data": {"text": "b"}},
    ]


def test_a_tick_is_no_entry(aurora):
    words.speak("polpo", Kept.name, "orchestrator:tick")
    on_day(0, aurora.ada, Kept(), Noted(text="a"))
    words.hush("polpo", Kept.name)
    assert [entry["event"] for entry in entries(aurora.ada, "2026-05-21")] == ["note:taken"]


def test_a_long_day_shows_its_newest_entries(aurora):
    on_day(0, aurora.ada, *(Noted(text=str(n)) for n in range(7)))
    shown = entries(aurora.ada, "2026-05-21", limit=3)
    assert [entry["data"]["text"] for entry in shown] == ["4", "5", "6"]


@pytest.mark.parametrize("day", ["2026-05-20", "yesterday", "2026-13-01", "9999-12-31", ""])
def test_an_unknown_day_is_empty(aurora, day):
    assert entries(aurora.ada, day) == []


def test_twenty_days_are_listed_in_one_query(aurora, count_queries, monkeypatch):
    monkeypatch.setattr(logs, "_sources", {})
    for number in range(22):
        on_day(number, aurora.ada, Noted(text=str(number)))
    with count_queries(1):
        listed = sessions(aurora.ada)
    assert [found[0] for found in listed][::19] == ["2026-06-11", "2026-05-23"]


def explained(statement, values):
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement, values)
        return "\n".join(line for (line,) in cursor.fetchall())


def fill(workspace_id, count, every):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_event (workspace_id, seq, name, payload, subject_type, actor_kind,"
            " request_id, created_at) SELECT %s, 1000000 + n, 'test.noted', '{}', '', '', '',"
            " %s::timestamptz + n * %s::interval FROM generate_series(1, %s) n",
            [workspace_id, NOON, every, count],
        )


def test_days_are_read_by_their_index(aurora, borealis):
    """Beside a big neighbour, whose rows lie among ours."""
    fill(borealis.id, 20_000, "1 minute")
    fill(aurora.id, 400, "50 minutes")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE events_event")
    asked = {"workspace": aurora.id, "names": [Noted.name], "days": 20, "counted": 10_000}
    of_a_day = Event.objects.filter(
        workspace_id=aurora.id,
        created_at__gte=NOON,
        created_at__lt=NOON + logs.DAY,
        name__in=[Noted.name],
    )
    entries_plan = of_a_day.order_by("-created_at", "-seq")[:1000].explain()
    for plan in (explained(logs._DAYS, asked), entries_plan):
        assert "event_by_day" in plan
        assert "Seq Scan" not in plan
        assert "event_by_age" not in plan


def test_a_note_of_today_is_in_todays_log(aurora):
    note(aurora.ada, "now")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert [entry["data"] for entry in entries(aurora.ada, today)] == [{"text": "now"}]
