"""Tools by which an agent asks a human. They rest the run: no worker waits."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from apps.approvals import services
from apps.approvals.models import Approval, ApprovalKind, ApprovalStatus
from apps.approvals.selectors import get_approval, latest_for_call, list_approvals
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.ids import base62, parse_bare
from apps.core.tools import (
    ORCHESTRATOR,
    HandOver,
    Tool,
    ToolContext,
    ToolFailed,
    WaitForHuman,
    register,
)
from apps.workspaces.asking import as_asker, orchestrator_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = {
    "type": "array",
    "items": {"type": "string", "maxLength": 200},
    "maxItems": services.MAX_OPTIONS,
    "description": "Choices to offer.",
}
_OPTION = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": {"type": "string", "maxLength": 500},
    },
    "required": ["label"],
    "additionalProperties": False,
}
_QUESTION = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 100},
        "question": {"type": "string", "minLength": 1, "maxLength": services.MAX_TEXT},
        "header": {"type": "string", "maxLength": 200},
        "options": {"type": "array", "items": _OPTION, "minItems": 2, "maxItems": 20},
        "multiple": {"type": "boolean"},
        "custom": {"type": "boolean", "description": "May the answer be in their own words?"},
    },
    "required": ["question", "options"],
    "additionalProperties": False,
}
_QUESTIONS = {
    "type": "object",
    "properties": {
        "questions": {"type": "array", "items": _QUESTION, "minItems": 1, "maxItems": 5}
    },
    "required": ["questions"],
    "additionalProperties": False,
}
MOST_LISTED = 100


def _binding(tool: str, context: ToolContext) -> str:
    """The same call asks once: its key names it, whatever words the model uses."""
    parts = json.dumps([tool, str(context.run_id), context.key])
    return hashlib.sha256(parts.encode()).hexdigest()


def _ask(context: ToolContext, binding: str, asked: Mapping[str, Any]) -> Approval:
    earlier = latest_for_call(context.actor, binding)
    if earlier is not None:
        return earlier
    # The engine asks, not the person whose turn this is: they are the one who may answer.
    engine = Actor.for_engine(context.actor.workspace_id, user_id=context.actor.user_id)
    return services.request(
        engine,
        subject_type="run",
        subject_id=context.run_id,
        session_id=context.session_id,
        binding=binding,
        **asked,
    )


async def _answered(context: ToolContext, tool: str, asked: Mapping[str, Any]) -> Approval:
    """The decided request of this call; rests the run while there is no decision."""
    approval = await db_call(_ask, context, _binding(tool, context), asked)
    if approval.status == ApprovalStatus.PENDING:
        raise WaitForHuman(approval.id)
    if approval.status == ApprovalStatus.EXPIRED:
        raise ToolFailed("Nobody answered in time.")
    if approval.status == ApprovalStatus.WITHDRAWN:
        raise ToolFailed("The request was withdrawn.")
    return approval


async def request_approval(context: ToolContext, arguments: dict[str, Any]) -> Any:
    approval = await _answered(
        context,
        "request_approval",
        {
            "kind": ApprovalKind.ACTION,
            "action": arguments["action"],
            "reason": arguments.get("reason", ""),
            "options": arguments.get("options", []),
        },
    )
    return {"decision": approval.status, "note": approval.note, "answer": approval.answer}


async def ask_user(context: ToolContext, arguments: dict[str, Any]) -> Any:
    approval = await _answered(
        context,
        "ask_user",
        {
            "kind": ApprovalKind.QUESTION,
            "action": arguments["question"],
            "options": arguments.get("options", []),
        },
    )
    if approval.status == ApprovalStatus.DENIED:
        raise ToolFailed(f"The user declined to answer. {approval.note}".strip())
    return {"answer": approval.answer}


# --- Asking in a chat: the turn ends with the question (contract/polpo.md §11) ----------------------
async def _questions(_context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """The payload; a question without an id is numbered."""
    asked = enumerate(arguments["questions"], 1)
    questions = [{"id": f"q{place}"} | question for place, question in asked]
    if len({question["id"] for question in questions}) < len(questions):
        raise ToolFailed("Each question needs an id of its own.")
    return {"questions": questions}


def _question_words(payload: dict[str, Any]) -> str:
    lines = []
    for question in payload["questions"]:
        lines.append(question["question"])
        lines += [f"- {option['label']}" for option in question.get("options", ())]
    return "\n".join(lines)


# --- The orchestrator's: deciding for the one who asked ---------------------------------------------
# The contract's words for what became of a request (contract/polpo.md §18).
_STATUSES = {
    "pending": "pending",
    "approved": "approved",
    "rejected": "denied",
    "timeout": "expired",
}


def _list(actor: Actor, arguments: dict[str, Any]) -> str:
    status = arguments.get("status")
    rows = list_approvals(actor, status=_STATUSES[status] if status else None)
    lines = [
        f"- {base62(row.id)} [{row.status}] {row.kind}: {' '.join(row.action.split())[:300]}"
        for row in rows.order_by("-created_at", "-id")[:MOST_LISTED]
    ]
    return "\n".join(lines) or "There are none."


async def _approve(context: ToolContext, arguments: dict[str, Any]) -> str:
    return await as_asker(context, partial(_decide, context, "approve"), arguments)


async def _reject(context: ToolContext, arguments: dict[str, Any]) -> str:
    return await as_asker(context, partial(_decide, context, "reject"), arguments)


def _decide(
    context: ToolContext, decision: services.Decision, actor: Actor, arguments: dict[str, Any]
) -> str:
    """What this very conversation asks, a model may not answer in its person's name."""
    approval_id = parse_bare(arguments["requestId"])
    approval = get_approval(actor, approval_id)
    if approval.session_id is not None and approval.session_id == context.session_id:
        raise ToolFailed("What this conversation asks for, a person must decide.")
    note = arguments.get("note") or arguments.get("feedback") or ""
    answer = note or None if approval.kind == ApprovalKind.QUESTION else None
    done = services.decide(actor, approval_id, decision=decision, note=note, answer=answer)
    return f"The request is {done.status}."


def register_tools() -> None:
    for tool in (REQUEST_APPROVAL, ASK_USER, LIST_APPROVALS, APPROVE, REJECT):
        register(tool)


REQUEST_APPROVAL = Tool(
    name="request_approval",
    description="Ask a human for permission before you do something risky. Waits for the decision.",
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "minLength": 1, "maxLength": services.MAX_TEXT},
            "reason": {"type": "string", "maxLength": services.MAX_TEXT},
            "options": _OPTIONS,
        },
        "required": ["action"],
        "additionalProperties": False,
    },
    call=request_approval,
    interactive=True,
)
ASK_USER = Tool(
    name="ask_user",
    description="Ask the user a question and wait for the answer.",
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": services.MAX_TEXT},
            "options": _OPTIONS,
        },
        "required": ["question"],
        "additionalProperties": False,
    },
    call=ask_user,
    interactive=True,
    hand_over=HandOver(
        "ask_user", _questions, words=_question_words, parameters=_QUESTIONS, only=False
    ),
)
_ID = {"type": "string", "minLength": 1, "maxLength": 36}
_NOTE = {"type": "string", "maxLength": services.MAX_NOTE}
LIST_APPROVALS = orchestrator_tool(
    "list_approvals",
    "Requests that wait, or waited, for a person's decision; the newest first.",
    {"status": {"enum": list(_STATUSES)}},
    _list,
)
APPROVE = Tool(
    name="approve_request",
    description="Approve a waiting request, in the name of the person you talk to.",
    parameters={
        "type": "object",
        "properties": {"requestId": _ID, "note": _NOTE},
        "required": ["requestId"],
        "additionalProperties": False,
    },
    call=_approve,
    tags=frozenset({ORCHESTRATOR}),
)
REJECT = Tool(
    name="reject_request",
    description="Reject a waiting request, in the name of the person you talk to, and say why.",
    parameters={
        "type": "object",
        "properties": {"requestId": _ID, "feedback": _NOTE},
        "required": ["requestId", "feedback"],
        "additionalProperties": False,
    },
    call=_reject,
    tags=frozenset({ORCHESTRATOR}),
)
