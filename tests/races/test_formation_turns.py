"""Requests of one end user that meet: a conversation has one turn, a key one flight, a delivery one sender."""

from __future__ import annotations

import json

import pytest

from apps.conversations.errors import RequestIdTaken, TurnInProgress
from apps.conversations.models import Message, Session, TurnRequest, WebhookDelivery
from apps.conversations.muxi.admission import InFlight, admit_chat
from apps.conversations.services import accept_turn
from apps.conversations.services.webhooks import _claim
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.runs.models import Run
from apps.surfaces.kit import Credentials
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)

RUNNERS = 8


def ask(team, **body):
    """A request for later, as its route admits and accepts it."""
    key = {"x-muxi-idempotency-key": body.pop("key")} if "key" in body else {}
    said = {"message": "Hello", "mode": "async", "request_id": str(uuid7())} | body
    headers = {name.lower(): value for name, value in team.headers(user="kim").items()} | key
    seen = Credentials(
        headers, {}, {}, "POST", "/v1/chat", "/v1/chat", "", "req_a", formation=team.ref
    )
    admitted = admit_chat(seen, json.dumps(said).encode())
    return accept_turn(admitted.asker.actor, admitted.turn)


def raced(team, *bodies):
    return race_each([(ask, (team,), body) for body in bodies])


def test_of_many_first_messages_one_opens_the_conversation(team, recording_queue):
    found = raced(team, *[{"session_id": "s"}] * RUNNERS)
    assert found.winners == 1
    assert set(found.errors) == {TurnInProgress}
    assert (Session.unscoped.count(), Run.unscoped.count(), Message.unscoped.count()) == (1, 1, 1)


def test_conversations_of_their_own_do_not_meet(team, recording_queue):
    """Control: the same, each in a conversation of its own."""
    assert raced(team, *[{} for _ in range(RUNNERS)]).winners == RUNNERS


def test_a_request_id_is_taken_once(team, recording_queue):
    found = raced(team, *[{"request_id": "r"} for _ in range(RUNNERS)])
    assert found.winners == 1
    assert set(found.errors) == {RequestIdTaken}
    assert (Session.unscoped.count(), TurnRequest.unscoped.count()) == (1, 1)


def test_a_key_is_one_flight(team, recording_queue):
    found = raced(team, *[{"key": "k"} for _ in range(RUNNERS)])
    assert found.winners == 1
    assert set(found.errors) == {InFlight}


def test_a_due_delivery_has_one_sender(team, recording_queue):
    request = ask(team)
    delivery = WebhookDelivery(
        workspace_id=team.home_id,
        request=request,
        url="https://x.example",
        body="{}",
        next_at=now(),
    )
    delivery.save()
    found = race_each([(_claim, (team.home_owner, delivery.pk), {})] * RUNNERS)
    assert len([attempt for attempt in found.results if attempt]) == 1
    delivery.refresh_from_db()
    assert delivery.attempts == 1
