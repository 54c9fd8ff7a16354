"""Tools by which an agent asks a human. They rest the run: no worker waits."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from apps.approvals import services
from apps.approvals.models import Approval, ApprovalKind, ApprovalStatus
from apps.approvals.selectors import latest_for_call
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.tools import Tool, ToolContext, ToolFailed, WaitForHuman, register

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = {
    "type": "array",
    "items": {"type": "string", "maxLength": 200},
    "maxItems": services.MAX_OPTIONS,
    "description": "Choices to offer.",
}


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


def register_tools() -> None:
    register(REQUEST_APPROVAL)
    register(ASK_USER)


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
)
