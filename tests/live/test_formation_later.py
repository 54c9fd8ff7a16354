"""Turns that are done later, and who is told of them (contract/muxi.md §5.5-5.6)."""

from __future__ import annotations

import pytest
from muxi import webhook

from apps.approvals.models import Approval
from apps.approvals.services import decide
from apps.conversations.jobs import deliver_due, forget_requests
from apps.conversations.models import TurnRequest, WebhookDelivery
from apps.conversations.services import webhooks
from apps.conversations.services.requests import KEPT
from apps.core.clock import now
from apps.formations.services import create_agent
from tests.live.conftest import as_user
from tests.support.receiver import Receiver
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

LATER = {"message": "Hello", "mode": "async"}


@pytest.fixture
def receiver(settings, monkeypatch):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    monkeypatch.setattr(webhooks, "LONGEST_WAIT", 0.05)
    made = Receiver()
    yield made
    made.close()


def status_of(http, name):
    return http.get(f"/requests/{name}").json()["data"]


def test_a_turn_for_later_is_polled(kim):
    answer = kim.post("/chat", json=LATER)
    told = answer.json()["data"]
    assert (answer.status_code, answer.json()["type"]) == (202, "chat.async_accepted")
    assert (told["status"], told["delivery"]) == ("processing", "polling")
    assert told["poll_url"] == f"/v1/requests/{told['request_id']}"
    done = wait_until(
        lambda: (s := status_of(kim, told["request_id"]))["status"] == "completed" and s
    )
    assert done["result"]["content"] == "Hello from the stub."
    assert done["progress"] == 100
    said = kim.get(f"/sessions/{done['session_id']}/messages").json()["data"]["messages"]
    assert [one["text"] for one in said] == ["Hello", "Hello from the stub."]
    assert said[1]["metadata"]["request_id"] == told["request_id"]


def test_a_webhook_is_signed_over_the_bytes_it_gets(kim, team, receiver):
    told = kim.post("/chat", json=LATER | {"webhook_url": receiver.url}).json()["data"]
    assert (told["delivery"], told["webhook_url"]) == ("webhook", receiver.url)
    headers, body = wait_until(lambda: receiver.heard)[0]
    signature = headers["X-Muxi-Signature"]
    assert webhook.verify_signature(body, signature, team.admin_key)
    assert not webhook.verify_signature(body + b" ", signature, team.admin_key)
    assert not webhook.verify_signature(body, signature, team.client_key)
    assert signature.startswith(f"t={headers['X-Muxi-Timestamp']},v1=")
    event = webhook.parse(body)
    assert (event.request_id, event.status) == (told["request_id"], "completed")
    assert (event.content[0].text, event.user_id) == ("Hello from the stub.", "kim")
    assert (event.formation_id, event.processing_mode) == ("team", "async")
    wait_until(lambda: WebhookDelivery.unscoped.get().status == "delivered")


def test_a_webhook_that_fails_is_tried_again_and_then_given_up(kim, stack, receiver):
    receiver.answers = [500, 503]
    stack.stub.queue(Reply(status=400, error="no"))
    kim.post("/chat", json=LATER | {"webhook_url": receiver.url})
    wait_until(lambda: WebhookDelivery.unscoped.filter(status="delivered").exists())
    assert len(receiver.heard) == 3
    assert len({body for _, body in receiver.heard}) == 1
    failed = webhook.parse(receiver.heard[0][1])
    assert (failed.status, failed.error.code) == ("failed", "INVALID_REQUEST")
    receiver.answers = [500] * 9
    kim.post("/chat", json=LATER | {"webhook_url": receiver.url})
    given_up = wait_until(lambda: WebhookDelivery.unscoped.filter(status="failed").first())
    assert (given_up.attempts, given_up.answered) == (4, 500)
    assert len(receiver.heard) == 7


def test_a_webhook_left_behind_is_sent_by_the_sweep(kim, stack, receiver, monkeypatch):
    monkeypatch.setattr("apps.conversations.services.webhooks.enqueue", lambda *_, **__: None)
    kim.post("/chat", json=LATER | {"webhook_url": receiver.url})
    wait_until(lambda: WebhookDelivery.unscoped.filter(status="pending").exists())
    assert not receiver.heard
    deliver_due()
    wait_until(lambda: WebhookDelivery.unscoped.filter(status="delivered").exists())
    deliver_due()
    assert len(receiver.heard) == 1


def test_a_webhook_may_not_lead_to_what_is_ours(kim):
    answer = kim.post("/chat", json=LATER | {"webhook_url": "http://127.0.0.1:1/"})
    assert answer.status_code == 422
    (item,) = answer.json()["error"]["data"]["validation_errors"]
    assert item["field"] == "webhook_url"
    assert not TurnRequest.unscoped.exists()


def test_a_request_is_cancelled_by_its_user_alone(kim, stack, team):
    stack.stub.script("default", Reply(hang=True))
    name = kim.post("/chat", json=LATER | {"request_id": "long"}).json()["data"]["request_id"]
    wait_until(lambda: stack.stub.requests)
    with as_user(stack, team, "lee") as lee:
        assert lee.delete(f"/requests/{name}").json()["error"]["code"] == "REQUEST_NOT_FOUND"
        assert lee.get("/requests").json()["data"]["requests"] == []
    told = kim.delete(f"/requests/{name}").json()
    assert (told["type"], told["data"]["cancellation"]) == ("request.cancelled", "cooperative")
    wait_until(lambda: status_of(kim, name)["status"] == "cancelled")
    assert kim.delete(f"/requests/{name}").json()["data"]["cancellation"] == "immediate"
    stack.stub.reset()
    done = kim.post("/chat", json={"message": "Hi"}).json()["data"]["request_id"]
    refused = kim.delete(f"/requests/{done}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "OPERATION_FAILED")


def test_old_requests_are_forgotten_with_their_deliveries(kim, receiver):
    kim.post("/chat", json=LATER | {"webhook_url": receiver.url})
    wait_until(lambda: WebhookDelivery.unscoped.filter(status="delivered").exists())
    forget_requests()
    assert TurnRequest.unscoped.exists()
    TurnRequest.unscoped.update(created_at=now() - 2 * KEPT)
    forget_requests()
    assert not TurnRequest.unscoped.exists()
    assert not WebhookDelivery.unscoped.exists()


def test_a_turn_that_asks_tells_its_webhook_and_goes_on_with_the_answer(kim, stack, team, receiver):
    create_agent(team.home_owner, name="asker", tools=["ask_user"])
    stack.stub.queue(Reply("One thing.", calls=(("ask_user", {"question": "Which city?"}),)))
    body = LATER | {"webhook_url": receiver.url, "request_id": "r", "session_id": "s"}
    assert kim.post("/chat", json=body).status_code == 202
    asked = webhook.parse(wait_until(lambda: receiver.heard)[0][1])
    assert (asked.request_id, asked.status) == ("r", "awaiting_clarification")
    assert "Which city?" in asked.clarification.question
    assert asked.clarification.original_message == "Hello"
    assert asked.raw["request_id"] == "r"
    assert status_of(kim, "r")["status"] == "awaiting_clarification"
    decide(team.home_owner, Approval.unscoped.get().pk, decision="approve", answer="Oslo")
    wait_until(lambda: len(receiver.heard) == 2)
    assert webhook.parse(receiver.heard[1][1]).status == "completed"
    assert status_of(kim, "r")["status"] == "completed"


def test_a_message_takes_the_place_of_a_turn_that_asks(kim, stack, team):
    create_agent(team.home_owner, name="asker", tools=["ask_user"])
    stack.stub.queue(Reply("One thing.", calls=(("ask_user", {"question": "Which city?"}),)))
    kim.post("/chat", json=LATER | {"request_id": "r", "session_id": "s"})
    wait_until(lambda: status_of(kim, "r")["status"] == "awaiting_clarification")
    answer = kim.post("/chat", json={"message": "Oslo", "session_id": "s"})
    assert answer.status_code == 200, answer.text
    assert status_of(kim, "r")["status"] == "cancelled"
    said = [message["content"] for message in stack.stub.requests[-1].body["messages"][1:]]
    assert (said[0], said[-1]) == ("Hello", "Oslo")
