"""A message's id chosen by a client never meets the id under which a turn's reply is stored."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from apps.conversations.errors import MessageIdTaken
from apps.conversations.models import Message
from apps.conversations.services import create_session, post_message
from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.engine.ports import Ending, Outcome, StepRecord, Usage
from apps.runs.journal import RunJournal
from apps.runs.models import Run
from apps.runs.services import claim_run
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session(aurora, recording_queue):
    return create_session(aurora.ada)[0]


def turn_of(aurora, session):
    """A claimed turn of the session."""
    post_message(aurora.ada, session.pk, content="Hello")
    run = Run.unscoped.filter(session_id=session.pk, status="queued").get()
    return RunJournal(Actor.for_engine(aurora.id), claim_run(aurora.id, run.pk)[0])


def end(journal):
    step = StepRecord(1, "model", "stub/m", "ok", usage=Usage(5, 5), output={"text": "Hi"})
    journal._record(step, Outcome(Ending.DONE, text="Hi", usage=Usage(5, 5)))


def replies(journal):
    return Message.unscoped.filter(run_id=journal.hold.run_id, wire_id=journal.hold.run_id).count()


def post_as(actor, session, message_id):
    return post_message(actor, session.pk, content="And?", message_id=message_id)


def test_the_id_of_a_turn_under_way_is_refused_and_nothing_changes(aurora, session):
    journal = turn_of(aurora, session)
    with pytest.raises(MessageIdTaken):
        post_as(aurora.ada, session, journal.hold.run_id)
    run = Run.unscoped.get()
    assert (run.status, run.cancel_requested_at) == ("running", None)
    end(journal)
    assert (Run.unscoped.get().status, replies(journal)) == ("succeeded", 1)


def test_the_id_of_a_reply_is_refused_too(aurora, session):
    journal = turn_of(aurora, session)
    end(journal)
    with pytest.raises(MessageIdTaken):
        post_as(aurora.ada, session, journal.hold.run_id)
    assert Message.unscoped.count() == 2


def test_a_message_posted_twice_is_still_one(aurora, session):
    chosen = uuid7()
    first = post_as(aurora.ada, session, chosen)
    assert post_as(aurora.ada, session, chosen) == first
    assert (Message.unscoped.count(), Run.unscoped.count()) == (1, 1)


def test_the_id_of_another_sessions_turn_is_free_here(aurora, session):
    """Ids are unique within a session: to refuse it would tell that it exists elsewhere."""
    elsewhere = turn_of(aurora, create_session(aurora.ada)[0])
    assert post_as(aurora.ada, session, elsewhere.hold.run_id).wire_id == elsewhere.hold.run_id


def test_a_turn_ends_well_whoever_posts_its_id_meanwhile(aurora, recording_queue):
    engine = Actor.for_engine(aurora.id)
    for _ in range(8):
        session, _ = create_session(engine)
        journal = turn_of(aurora, session)
        posted = (post_as, (aurora.ada, session, journal.hold.run_id), {})
        outcome = race_each([(end, (journal,), {}), posted, posted])
        assert (outcome.winners, set(outcome.errors)) == (1, {MessageIdTaken})
        assert replies(journal) == 1


def test_without_the_refusal_the_turn_could_not_store_its_reply(aurora, session, monkeypatch):
    """Control: the two ids do meet."""
    from apps.conversations.services import messages

    journal = turn_of(aurora, session)
    monkeypatch.setattr(messages, "_posted_before", lambda *_: None)
    post_as(aurora.ada, session, journal.hold.run_id)
    with pytest.raises(IntegrityError):
        end(journal)
