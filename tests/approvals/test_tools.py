"""The orchestrator's tools on requests: it decides for the one who asked, never for itself."""

from __future__ import annotations

import asyncio

import pytest

from apps.approvals.models import Approval, ApprovalKind
from apps.approvals.services import request
from apps.core.actor import Actor
from apps.core.ids import base62, uuid7
from apps.core.tools import ToolContext, ToolFailed, find

pytestmark = pytest.mark.django_db(transaction=True)

TALK = uuid7()


@pytest.fixture
def waiting(aurora):
    """A request of an agent in another conversation."""
    return request(Actor.for_engine(aurora.id), action="Pay the bill", session_id=uuid7())


@pytest.fixture
def call(aurora):
    def called(tool, who="ada", /, **arguments):
        user, token = getattr(aurora, f"{who}_user").pk, getattr(aurora, f"{who}_token_id")
        engine = Actor.for_engine(aurora.id, user_id=user)
        context = ToolContext(engine, uuid7(), TALK, None, "k", token_id=token)
        return asyncio.run(find(tool).call(context, arguments))

    return called


def test_requests_are_listed_one_line_each(call, waiting):
    assert call("list_approvals", status="pending") == (
        f"- {base62(waiting.id)} [pending] action: Pay the bill"
    )
    assert call("list_approvals", status="timeout") == "There are none."


def test_a_request_is_decided_in_the_name_of_the_one_who_asked(call, waiting, aurora):
    said = call("approve_request", requestId=base62(waiting.id), note="go on")
    decided = Approval.unscoped.get(pk=waiting.id)
    assert (said, decided.status) == ("The request is approved.", "approved")
    assert (decided.note, decided.decided_by_id) == ("go on", aurora.ada_user.pk)


def test_a_request_is_rejected_with_a_reason(call, waiting):
    call("reject_request", requestId=base62(waiting.id), feedback="too dear")
    decided = Approval.unscoped.get(pk=waiting.id)
    assert (decided.status, decided.note) == ("denied", "too dear")


def test_a_question_is_answered_by_the_note(call, aurora):
    asked = request(Actor.for_engine(aurora.id), kind=ApprovalKind.QUESTION, action="Which city?")
    call("approve_request", requestId=str(asked.id), note="Oslo")
    assert Approval.unscoped.get(pk=asked.id).answer == "Oslo"


def test_what_its_own_conversation_asks_a_model_does_not_decide(call, aurora):
    asked = request(Actor.for_engine(aurora.id), action="Delete all", session_id=TALK)
    with pytest.raises(ToolFailed, match="a person must decide"):
        call("approve_request", requestId=base62(asked.id))
    assert Approval.unscoped.get(pk=asked.id).status == "pending"


def test_a_viewer_decides_nothing_and_a_foreign_request_is_absent(call, waiting, borealis):
    foreign = request(Actor.for_engine(borealis.id), action="Theirs")
    with pytest.raises(ToolFailed, match="scope"):
        call("approve_request", "cleo", requestId=base62(waiting.id))
    for name in (base62(foreign.id), "nobody"):
        with pytest.raises(ToolFailed):
            call("reject_request", requestId=name, feedback="no")
    assert set(Approval.unscoped.values_list("status", flat=True)) == {"pending"}
