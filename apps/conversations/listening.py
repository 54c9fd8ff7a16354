"""Hearing a turn in the process that carries it: what the request's own writer is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apps.conversations.chat import SessionListener
from apps.core.redact import redacted
from apps.runs.journal import RESULT_IN_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from apps.engine.ports import ToolCall, ToolResult


class TokenListener(SessionListener):
    """Tells the request's own writer too: texts, and what becomes of tool calls (polpo.md §11)."""

    def __init__(
        self, session_id: UUID, run_id: UUID, on_news: Callable[[str | dict[str, Any]], None]
    ) -> None:
        super().__init__(session_id, run_id)
        self._on_news = on_news

    def delta(self, text: str) -> None:
        self._on_news(text)
        super().delta(text)

    def call_started(self, call: ToolCall) -> None:
        about = {"id": call.id, "name": call.name}
        self._on_news(about | {"state": "preparing"})
        self._on_news(about | {"state": "calling", "arguments": redacted(call.arguments)})

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None:
        state = "error" if result.is_error else "completed"
        self._on_news({"id": call.id, "name": call.name, "state": state, "result": shown(result)})


def shown(result: ToolResult) -> str:
    """A result as the live stream tells it: text, without secrets, not too long."""
    text = result.content if result.data is None else json.dumps(redacted(result.data))
    return text if len(text) <= RESULT_IN_EVENT else text[:RESULT_IN_EVENT] + "…"
