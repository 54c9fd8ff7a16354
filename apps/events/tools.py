"""The orchestrator's look into the log (contract/polpo.md §12)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.ids import parse_session_ref
from apps.core.redact import redacted
from apps.core.tools import register
from apps.events.selectors import EventRow, latest_events
from apps.workspaces.asking import orchestrator_tool

if TYPE_CHECKING:
    from apps.core.actor import Actor

SHOWN = 100  # facts
LONGEST_VALUE = 200  # characters


def _get_logs(actor: Actor, arguments: dict[str, Any]) -> str:
    named = arguments.get("sessionId")
    session_id = parse_session_ref(named)[1] if named else None
    rows = latest_events(actor, session_id=session_id, limit=SHOWN)
    return "\n".join(map(_line, rows)) or "Nothing has happened yet."


def _line(row: EventRow) -> str:
    told = {name: value for name, value in row.payload.items() if value not in (None, "", [], {})}
    shown = redacted(told, longest=LONGEST_VALUE, most=10, depth=4)
    return f"{rfc3339(row.created_at)} {row.name} {json.dumps(shown, ensure_ascii=False)}"


GET_LOGS = orchestrator_tool(
    "get_logs",
    "The last things that happened in this project, or in one conversation, oldest first.",
    {"sessionId": {"type": "string", "maxLength": 100, "description": "Only this conversation."}},
    _get_logs,
    max_output=40_000,
)


def register_tools() -> None:
    register(GET_LOGS)
