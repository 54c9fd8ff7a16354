"""Several at once on what belongs to a formation's users. Each test has its control."""

from __future__ import annotations

import threading

import pytest
from django.db import transaction

from apps.conversations.buffers import list_buffers
from apps.conversations.models import Session
from apps.conversations.services.buffers import Cleared, clear_buffers
from tests.contract.test_muxi_jobs import talk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def said(team):
    return talk(team, "kim", "talk", "Hello", "Hi.")


@transaction.atomic
def clear_without_guard(actor, both):
    """Look, then write: what both saw, both cleared."""
    seen = list_buffers(actor, "kim", size=10)
    both.wait()
    for buffer in seen:
        Session.unscoped.filter(pk=buffer.session.pk).update(buffer_cleared_at=buffer.newest)
    return Cleared(len(seen), sum(buffer.messages for buffer in seen))


def test_a_message_is_cleared_once_however_many_clear(race, team, said):
    outcome = race(clear_buffers, team.home_owner, "kim", runners=8)
    assert not outcome.errors
    assert sum(done.messages for done in outcome.results) == 2


def test_the_race_for_a_buffer_is_real(race, team, said):
    """Control: without the lock each counts what the other has cleared."""
    both = threading.Barrier(2, timeout=20)
    outcome = race(clear_without_guard, team.home_owner, both, runners=2)
    assert sum(done.messages for done in outcome.results) == 4
    assert Session.unscoped.get().buffer_cleared_at is not None
