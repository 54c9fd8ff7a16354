"""Facts in a surface's words: shapes, patterns, what is completed when it is read."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from apps.approvals.services import decide, expire, request
from apps.conversations.services import create_session, post_message
from apps.core.actor import Actor
from apps.core.errors import InvalidInput
from apps.core.ids import base62, uuid7
from apps.events import feed, log, words
from apps.events.events import LogWritten
from apps.events.log import EventRow, complete_with, log_after
from apps.events.patterns import EVERYTHING, NOTHING, parse_filter
from tests.live.feeds import Kept, Noted, note, say, spoken_notes


def row(name, seq=7, **payload):
    moment = datetime(2026, 5, 21, tzinfo=UTC)
    return EventRow(seq, name, payload, None, None, "", None, "", None, "", moment)


@pytest.fixture
def notes():
    with spoken_notes():
        yield


def told(workspace_id):
    """Everything of a workspace's log that polpo's feeds tell, in order."""
    rows = log_after(workspace_id, 0, names=words.spoken("polpo"))
    return [word for found in rows for word in words.told("polpo", found)]


# --- Shapes --------------------------------------------------------------------------------------
def test_the_usual_shape_is_camel_case_with_bare_ids_and_no_nulls():
    task = uuid7()
    said = {"task_id": str(task), "max_retries": 3, "reason": None, "a_list": [{"in_it": 1}]}
    shaped = words.in_camel_case(said | {"other_id": "no uuid"})
    assert shaped == {
        "taskId": base62(task),
        "maxRetries": 3,
        "aList": [{"in_it": 1}],
        "otherId": "no uuid",
    }


def test_one_fact_may_be_several_events_or_none(notes):
    both = words.told("polpo", row(Noted.name, text="x", twice=True))
    assert both == (("note:taken", {"text": "x"}), ("note:again", {"text": "x"}))
    assert [e for e, _ in words.told("polpo", row(Noted.name, text="x", twice=False))] == [
        "note:taken"
    ]
    assert words.told("polpo", row(Kept.name)) == ()
    assert words.told("another", row(Noted.name, text="x", twice=True)) == ()


def test_a_shape_that_fails_leaves_its_event_out(notes, caplog):
    with caplog.at_level(logging.ERROR):
        assert words.told("polpo", row(Noted.name, twice=False)) == ()
    assert "cannot be told as note:taken" in caplog.text


def test_readers_of_one_form_share_the_bytes(notes):
    fact = row(Noted.name, text="x", twice=False)
    one, other = (feed.FeedEncoder("polpo", feed.NAMED) for _ in range(2))
    assert one.event(fact)[0] is other.event(fact)[0]
    narrow = feed.FeedEncoder("polpo", feed.NAMED, parse_filter("note:again"))
    assert narrow.name != one.name
    assert narrow.event(fact) == []


# --- Patterns ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "event", "matches"),
    [
        ("task:*", "task:retry:blocked", True),
        ("task:retry", "task:retry:blocked", False),
        ("task:*", "tasks:created", False),
        ("log", "log", True),
        ("log:*", "log", False),
        ("*", "anything", True),
        (" task:created , mission:* ", "mission:saved", True),
    ],
)
def test_a_pattern_is_a_name_a_prefix_or_everything(wanted, event, matches):
    assert parse_filter(wanted).match(event) is matches


@pytest.mark.parametrize("wanted", ["task*", "*:created", "a b", "x" * 101, "task:", "a\nb"])
def test_what_is_no_pattern_is_refused(wanted):
    with pytest.raises(InvalidInput):
        parse_filter(wanted)


def test_nothing_and_everything_are_not_the_same():
    assert parse_filter(",") is EVERYTHING
    assert not NOTHING.match("task:created")
    assert EVERYTHING.minus(["task:*"]).match("task:created")
    assert not EVERYTHING.plus(["task:*"]).minus(["task:*"]).match("task:created")


# --- Completing ----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_batch_is_completed_by_everyone_who_knows_in_one_call_each(aurora, monkeypatch, notes):
    monkeypatch.setattr(log, "_completers", {})
    batches = []

    def first(workspace_id, rows):
        batches.append(len(rows))
        for found in rows:
            found.payload["text"] += "!"

    def breaks(workspace_id, rows):
        raise ZeroDivisionError

    for fill in (first, first, breaks):
        complete_with(Noted.name, fill)
    note(aurora.ada, "a", "b")
    assert [data["text"] for event, data in told(aurora.id) if event == "note:taken"] == [
        "a!",
        "b!",
    ]
    assert batches == [2], "registering twice is the same as once"


# --- The facts that exist ------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_conversations_are_told(aurora, recording_queue):
    session, _ = create_session(aurora.ada, title="A talk")
    message = post_message(aurora.ada, session.pk, content="Hello")
    assert told(aurora.id) == [
        ("session:created", {"sessionId": base62(session.pk), "title": "A talk"}),
        (
            "message:added",
            {
                "sessionId": base62(session.pk),
                "messageId": base62(message.wire_id),
                "role": "user",
            },
        ),
    ]


@pytest.fixture
def asked(aurora):
    task = uuid7()
    engine = Actor.for_engine(aurora.id)
    approval = request(engine, action="Send mail?", subject_type="task", subject_id=task)
    return approval, {"requestId": base62(approval.pk)}, {"taskId": base62(task)}


@pytest.mark.django_db(transaction=True)
def test_a_permission_is_told(aurora, asked):
    approval, whose, about = asked
    decide(aurora.ada, approval.pk, decision="approve")
    by = {"resolvedBy": base62(aurora.ada_user.pk)}
    assert told(aurora.id) == [
        ("approval:requested", whose | {"gateId": "action", "gateName": "Send mail?"} | about),
        ("approval:resolved", whose | {"status": "approved"} | by),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_told_with_its_reason(aurora, asked):
    approval, whose, about = asked
    decide(aurora.ada, approval.pk, decision="reject", note="Too early")
    by = {"resolvedBy": base62(aurora.ada_user.pk)}
    feedback = {"feedback": "Too early", "rejectionCount": 1}
    assert told(aurora.id)[1:] == [
        ("approval:resolved", whose | {"status": "rejected"} | by),
        ("approval:rejected", whose | about | by | feedback),
    ]


@pytest.mark.django_db(transaction=True)
def test_silence_is_told_as_a_timeout(aurora, asked):
    approval, whose, _ = asked
    type(approval).unscoped.update(expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    expire(Actor.for_system(aurora.id), approval.pk)
    assert told(aurora.id)[-1] == ("approval:timeout", whose | {"action": "reject"})


@pytest.mark.django_db(transaction=True)
def test_a_line_of_the_log_is_told(aurora):
    say(aurora.ada, LogWritten(level="warn", message="Disk is filling up."))
    line = {"level": "warn", "message": "Disk is filling up."}
    assert told(aurora.id)[-1] == ("log", line)
