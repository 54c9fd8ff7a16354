"""The gate: what needs a human, and that a permission covers exactly one call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from apps.approvals import selectors
from apps.approvals import services as approvals
from apps.core.ids import uuid7
from apps.engine.ports import Allowed, Denied, NeedsHuman, ToolCall, ToolWaits
from apps.formations import services
from apps.formations.toolbox import WorkspaceToolBox
from apps.workspaces.models import Workspace
from tests.formations.conftest import SCHEMA

pytestmark = pytest.mark.django_db(transaction=True)


async def deploy(context, arguments):
    return "deployed"


@pytest.fixture
def may(box, register):
    """`may(arguments, key="k")`: what the gate says to a call of the tool `deploy`."""
    loose = {**SCHEMA, "additionalProperties": True}
    register("deploy", deploy, needs_approval=True, parameters=loose)

    def ask(arguments, key="k", name="deploy"):
        return asyncio.run(box().gate().may(ToolCall("c1", name, arguments), key=key))

    return ask


def approve(aurora, verdict):
    return approvals.decide(aurora.ben, UUID(verdict.approval_id), decision="approve")


def test_most_tools_need_nobody(may):
    assert may({}, name="now") == Allowed()


def test_a_call_waits_and_then_goes(aurora, may):
    asked = may({"n": 1})
    assert isinstance(asked, NeedsHuman)
    assert may({"n": 1}) == asked
    approve(aurora, asked)
    assert may({"n": 1}) == Allowed()


def test_a_permission_is_good_for_one_use(aurora, may):
    asked = may({"n": 1})
    approve(aurora, asked)
    assert may({"n": 1}) == Allowed()
    again = may({"n": 1})
    assert isinstance(again, NeedsHuman)
    assert again != asked


@pytest.mark.parametrize(
    ("arguments", "key"), [({"n": 2}, "k"), ({"n": 1, "force": True}, "k"), ({"n": 1}, "other")]
)
def test_a_permission_covers_exactly_the_call_that_was_shown(aurora, may, arguments, key):
    approve(aurora, may({"n": 1}))
    assert isinstance(may(arguments, key), NeedsHuman)
    assert may({"n": 1}) == Allowed()


def test_a_permission_does_not_pass_to_another_run(aurora, may, box, context):
    from apps.formations.gate import ask_or_use

    approve(aurora, may({"n": 1}))
    other = replace(context, run_id=uuid7())
    assert isinstance(ask_or_use(other, ToolCall("c1", "deploy", {"n": 1}), "k"), NeedsHuman)


def test_a_refusal_reaches_the_model_with_the_note(aurora, may):
    asked = may({"n": 1})
    approvals.decide(aurora.ada, UUID(asked.approval_id), decision="reject", note="Not on Friday.")
    verdict = may({"n": 1})
    assert isinstance(verdict, Denied)
    assert "Not on Friday." in verdict.reason


def test_the_human_reads_the_call_and_not_the_models_words(aurora, may):
    may({"n": 1, "target": "prod\u202e\u200bdorp", "note": "line\nfeed"})
    shown = selectors.pending_approvals(aurora.ada).get()
    assert shown.action == "Run deploy\nn: 1\nnote: line\nfeed\ntarget: prod\\u202e\\u200bdorp"
    assert shown.context["arguments"]["n"] == 1


def test_what_no_human_can_read_is_refused(may):
    assert isinstance(may({"n": 1, "blob": "x" * 100_000}), Denied)


def test_the_workspace_decides_by_setting(aurora, may):
    services.set_tool(aurora.ada, "deploy", enabled=True, needs_approval=False)
    assert may({"n": 1}) == Allowed()
    services.set_tool(aurora.ada, "now", enabled=True, needs_approval=True)
    assert isinstance(may({}, name="now"), NeedsHuman)


def test_the_workspaces_preference_outweighs_a_setting(aurora, may):
    chosen = {"tools_need_approval": ["deploy"]}
    Workspace.objects.filter(id=aurora.id).update(settings=chosen)
    services.set_tool(aurora.ada, "deploy", enabled=True, needs_approval=False)
    assert isinstance(may({"n": 1}), NeedsHuman)


def test_a_tool_switched_off_in_the_middle_of_a_run_stops(aurora, box):
    gate = box().gate()
    call = ToolCall("c1", "now", {})
    assert asyncio.run(gate.may(call, key="k")) == Allowed()
    services.set_tool(aurora.ada, "now", enabled=False)
    assert isinstance(asyncio.run(gate.may(call, key="k")), Denied)


def test_asking_a_human_needs_no_approval(aurora, may):
    services.set_tool(aurora.ada, "*", enabled=True, needs_approval=True)
    assert may({"question": "?"}, name="ask_user") == Allowed()


@pytest.mark.parametrize("arguments", [{"n": "\x00"}, {"n": "\ud800"}])
def test_odd_characters_do_not_break_the_question(may, arguments):
    assert isinstance(may(arguments), NeedsHuman)


def run_tool(box, name, arguments, key="k"):
    return asyncio.run(box.call(ToolCall("c1", name, arguments), key=key))


def test_a_question_waits_for_its_answer(aurora, box):
    with pytest.raises(ToolWaits) as waits:
        run_tool(box(), "ask_user", {"question": "Which colour?", "options": ["red", "blue"]})
    with pytest.raises(ToolWaits) as again:
        run_tool(box(), "ask_user", {"question": "Which colour?"})
    assert again.value.approval_id == waits.value.approval_id
    question = UUID(waits.value.approval_id)
    approvals.decide(aurora.ada, question, decision="approve", answer="blue")
    assert run_tool(box(), "ask_user", {"question": "Which colour?"}).data == {"answer": "blue"}
    with pytest.raises(ToolWaits):
        run_tool(box(), "ask_user", {"question": "Which colour?"}, key="another call")


def test_who_sent_the_message_may_answer_the_question(aurora, box, context):
    theirs = replace(context, actor=aurora.ben)
    box = asyncio.run(WorkspaceToolBox.open(theirs, ["ask_user"]))
    with pytest.raises(ToolWaits) as waits:
        run_tool(box, "ask_user", {"question": "Which colour?"})
    question = UUID(waits.value.approval_id)
    assert approvals.decide(aurora.ben, question, decision="approve", answer="red").answer == "red"


def test_a_request_for_approval_returns_the_decision(aurora, box):
    with pytest.raises(ToolWaits) as waits:
        run_tool(box(), "request_approval", {"action": "Send the mail", "reason": "It is time"})
    approvals.decide(aurora.ada, UUID(waits.value.approval_id), decision="reject", note="No.")
    result = run_tool(box(), "request_approval", {"action": "Send the mail"})
    assert result.data == {"decision": "denied", "note": "No.", "answer": None}
