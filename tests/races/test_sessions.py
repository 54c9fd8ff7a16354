"""The limit of active sessions holds however many are opened at once."""

from __future__ import annotations

import threading

import pytest

from apps.conversations.errors import SessionLimitReached
from apps.conversations.models import Session
from apps.conversations.services.sessions import create_session

pytestmark = pytest.mark.django_db(transaction=True)


def open_session(actor):
    return create_session(actor, title="one of many")


def test_a_credential_has_ten_active_sessions_and_not_one_more(race, aurora, recording_queue):
    outcome = race(open_session, aurora.ada, runners=14)
    assert outcome.winners == 10
    assert set(outcome.errors) == {SessionLimitReached}
    assert Session.objects.in_workspace(aurora.id).count() == 10


def open_without_guard(actor, meeting):
    if Session.objects.in_workspace(actor.workspace_id).count() >= 1:
        raise SessionLimitReached
    meeting.wait()
    Session(workspace_id=actor.workspace_id, token_id=actor.token_id).save()


def test_the_race_for_the_last_place_is_real(race, aurora):
    """Control: count-then-insert gives the one place to two."""
    meeting = threading.Barrier(2, timeout=10)
    assert race(open_without_guard, aurora.ada, meeting, runners=2).winners == 2
