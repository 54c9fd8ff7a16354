"""`get_logs`: what has happened, as the orchestrator reads it."""

from __future__ import annotations

import asyncio

import pytest

from apps.conversations.services import create_session
from apps.core.actor import Actor
from apps.core.ids import base62, uuid7
from apps.core.tools import ToolContext, ToolFailed, find
from apps.events.selectors import latest_events
from apps.knowledge.services import append_memory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def logs(aurora):
    def read(**arguments):
        engine = Actor.for_engine(aurora.id, user_id=aurora.cleo_user.pk)
        context = ToolContext(engine, uuid7(), None, None, "k", token_id=aurora.cleo_token_id)
        return asyncio.run(find("get_logs").call(context, arguments)).splitlines()

    return read


def test_the_last_facts_are_told_a_line_each(logs, aurora, borealis):
    append_memory(aurora.ada, "a secret plan")
    append_memory(borealis.mallory, "theirs", key="borealis")
    last = logs()[-1]
    assert " memory.changed " in last
    assert '"key": "notes"' in last
    assert "secret" not in last
    assert "borealis" not in "".join(logs())


def test_one_conversation_has_its_own_log(logs, aurora):
    session, _ = create_session(aurora.ada, title="A talk")
    append_memory(aurora.ada, "x")
    (line,) = logs(sessionId=base62(session.pk))
    assert "session.created" in line
    with pytest.raises(ToolFailed):
        logs(sessionId="nobody!")


def test_the_log_is_bounded(aurora, count_queries):
    for place in range(5):
        append_memory(aurora.ada, f"{place}")
    with count_queries(1):
        assert len(latest_events(aurora.ada, limit=3)) == 3
