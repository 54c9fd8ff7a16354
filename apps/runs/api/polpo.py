"""`/agents/processes` on the polpo surface (contract/polpo.md §3.4 and §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.ids import base62
from apps.runs import selectors
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class ProcessesView(PolpoView):
    def get(self, request: Request, **_: str) -> Response:
        return self.ok([work_json(work) for work in selectors.list_work(self.actor)])


def work_json(work: selectors.Work) -> dict[str, Any]:
    """An AgentProcess (contract §5.2)."""
    return {
        "agentName": work.agent,
        "pid": work.pid,
        "taskId": base62(work.task_id),
        "startedAt": rfc3339(work.started_at),
        "alive": work.alive,
        "activity": _activity_json(work),
    }


def _activity_json(work: selectors.Work) -> dict[str, Any]:
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


urlpatterns = on_projects("agents/processes", ProcessesView.as_view())
