"""Runs as the polpo surface writes them (contract/polpo.md §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.ids import base62

if TYPE_CHECKING:
    from apps.runs.selectors import Work


def work_json(work: Work) -> dict[str, Any]:
    """An AgentProcess (contract §5.2)."""
    return {
        "agentName": work.agent,
        "pid": work.pid,
        "taskId": base62(work.task_id),
        "startedAt": rfc3339(work.started_at),
        "alive": work.alive,
        "activity": _activity_json(work),
    }


def _activity_json(work: Work) -> dict[str, Any]:
    optional = {
        "lastTool": work.last_tool,
        "lastFile": work.last_file,
        "summary": work.summary,
        "sessionId": base62(work.session_id) if work.session_id else "",
    }
    return {
        "filesCreated": work.created,
        "filesEdited": work.edited,
        "toolCalls": work.tool_calls,
        "totalTokens": work.total_tokens,
        "lastUpdate": rfc3339(work.last_update),
        **{key: value for key, value in optional.items() if value},
    }
