"""May this call be made? A table decides, never a model; and a permission covers exactly one call."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import TYPE_CHECKING, Any

from apps.approvals import services as approvals
from apps.approvals.selectors import latest_for_call
from apps.core import tools
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.engine.ports import Allowed, Denied, NeedsHuman, ToolCall, Verdict
from apps.formations.policy import current_policy

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.tools import ToolContext

LONGEST_SHOWN = 48 * 1024  # bytes of arguments that a human can be asked to read


class WorkspaceGate:
    """Implements `engine.ports.Gate` for one run.

    The policy is read anew for every call (remembered for two seconds): a tool that is switched off
    stops in runs that go on for minutes, too.
    """

    def __init__(self, context: ToolContext) -> None:
        self._context = context

    async def may(self, call: ToolCall, *, key: str) -> Verdict:
        """One query at most, unless the table says that a human must be asked."""
        policy = await current_policy(self._context.actor)
        tool = tools.find(call.name)
        rule = policy.rule(call.name)
        if rule is not None and not rule.enabled:
            return Denied("This tool has been switched off in this workspace.")
        if tool is not None and tool.interactive:
            return Allowed()  # it asks a human by itself
        if not policy.needs_human(call.name, tool):
            return Allowed()
        return await db_call(ask_or_use, self._context, call, key)


def binding_of(call: ToolCall, run_id: UUID, key: str) -> str:
    """SHA-256 over tool, canonical arguments, run and step: what a permission is good for."""
    parts = json.dumps(
        [call.name, call.arguments, str(run_id), key], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(parts.encode()).hexdigest()


def ask_or_use(context: ToolContext, call: ToolCall, key: str) -> Verdict:
    """Spend the permission for exactly this call, or ask for it."""
    binding = binding_of(call, context.run_id, key)
    approval = latest_for_call(context.actor, binding)
    if approval is not None:
        verdict = _verdict(context, approval)
        if verdict is not None:
            return verdict
    if len(json.dumps(call.arguments)) > LONGEST_SHOWN:
        return Denied("This call needs a human's approval, and is too large for one to read.")
    # The engine asks: whoever sent the message may be the one who decides.
    asked = approvals.request(
        Actor.for_engine(context.actor.workspace_id, user_id=context.actor.user_id),
        action=rendered(call),
        reason="This tool needs approval in this workspace.",
        context={"tool": call.name, "arguments": _storable(call.arguments)},
        subject_type="run",
        subject_id=context.run_id,
        session_id=context.session_id,
        binding=binding,
    )
    return NeedsHuman(str(asked.id))


def _verdict(context: ToolContext, approval: Any) -> Verdict | None:
    """What an earlier request for this call says; None: ask (again)."""
    if approval.status == "pending":
        return NeedsHuman(str(approval.id))
    if approval.status == "approved":
        return Allowed() if approvals.use(context.actor, approval.id) else None
    if approval.status == "denied":
        return Denied(f"A human refused this call. {approval.note}".strip())
    if approval.status == "expired":
        return Denied("Nobody approved this call in time.")
    return Denied("The request for approval was withdrawn.")


def rendered(call: ToolCall) -> str:
    """What the human reads: the call itself, from its arguments, in characters that show."""
    lines = [f"Run {call.name}"]
    lines += [f"{name}: {_shown(value)}" for name, value in sorted(call.arguments.items())]
    text = _visible("\n".join(lines))
    if len(text) <= approvals.MAX_TEXT:
        return text
    cut = f"\n[cut: the whole call has {len(text)} characters, see its arguments]"
    return text[: approvals.MAX_TEXT - len(cut)] + cut


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _visible(text: str) -> str:
    """Direction marks, zero widths and control characters are spelled out: they hide what is run."""
    return "".join(
        f"\\u{ord(char):04x}"
        if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}
        else char
        for char in text
    )


def _storable(value: Any) -> Any:
    """JSON that PostgreSQL takes: NUL and half surrogates are spelled out."""
    if isinstance(value, str):
        return _visible(value) if "\x00" in value or not _encodes(value) else value
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
