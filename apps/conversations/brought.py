"""What a completion's request brought, kept while its turn waits for a human.

The caller's own history, its system messages and its tools are in no row: a worker that goes on with the
turn would otherwise see the stored transcript only. So a turn that waits keeps the request's body (at
most MAX_BODY_BYTES) in `Run.input`, and reads it there as it was read at first. `runs` forgets it when
the run ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.conversations.completions import (
    CompletionRequest,
    as_chat,
    client_tools_of,
    parse_request,
    sampling_of,
)
from apps.runs.models import REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.engine.ports import ChatMessage, Sampling, ToolCall, ToolResult, ToolSpec
    from apps.formations.toolbox import WorkspaceToolBox


@dataclass(frozen=True, slots=True)
class Brought:
    """A request taken up again. `before`: the stored messages older than this stood in its history."""

    request: CompletionRequest
    before: datetime | None

    def history(self, stored: Sequence[ChatMessage]) -> list[ChatMessage]:
        return history_of(self.request, stored)

    def sampling(self) -> Sampling:
        """As asked, but for the choice of a tool: it may name one of the caller's, who has gone."""
        return replace(sampling_of(self.request), tool_choice=None)

    def client_tools(self) -> list[ToolSpec]:
        return client_tools_of(self.request)


def keep_request(body: bytes, *, before: datetime | None) -> dict[str, Any]:
    """The `Run.input` of a turn that waits. The body stays text: a JSON column knows no NUL escape."""
    moment = before.isoformat() if before else None
    return {REQUEST: {"body": body.decode(), "before": moment}}


def brought_by(run_input: dict[str, Any]) -> Brought | None:
    """What the run's request brought; None for a turn that answers stored messages only."""
    kept = run_input.get(REQUEST)
    if kept is None:
        return None
    moment = kept["before"]
    return Brought(
        parse_request(kept["body"].encode()), datetime.fromisoformat(moment) if moment else None
    )


def is_lone(request: CompletionRequest) -> bool:
    """One message besides the system's: the caller counts on what this session has stored."""
    return sum(as_chat(message).role != "system" for message in request.messages) <= 1


def history_of(request: CompletionRequest, stored: Sequence[ChatMessage] = ()) -> list[ChatMessage]:
    """The request's own messages, with what is stored between its system messages and the rest."""
    sent = [as_chat(message) for message in request.messages]
    if not stored:
        return sent
    system = [message for message in sent if message.role == "system"]
    return [*system, *stored, *(message for message in sent if message.role != "system")]


class WithoutCaller:
    """The tools of a turn whose caller has gone: the caller's own are offered no more.

    Their names stay taken, so that a call meant for the caller does not run a tool of ours.
    """

    def __init__(self, toolbox: WorkspaceToolBox) -> None:
        self._toolbox = toolbox

    async def specs(self) -> Sequence[ToolSpec]:
        return [spec for spec in await self._toolbox.specs() if not spec.client]

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        return await self._toolbox.call(call, key=key)
