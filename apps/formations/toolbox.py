"""The tools of one run: what is registered, what MCP servers offer, what the caller brought.

A tool's failure is a result the model can read, never an exception: only `ToolWaits`, `ToolEnds` and
cancellation pass through.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from apps.core import tools
from apps.core.errors import DomainError
from apps.engine.ports import ToolCall, ToolEnds, ToolResult, ToolSpec, ToolWaits
from apps.formations import mcp
from apps.formations.gate import WorkspaceGate
from apps.formations.mcp_tools import LONGEST_ANSWER
from apps.formations.offers import Offer
from apps.formations.policy import Policy, Server, current_policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from apps.core.tools import HandOver, Tool, ToolContext
    from apps.formations.mcp_tools import Listed

log = logging.getLogger(__name__)

MOST_TOOLS = 128
LONGEST_NAME = 64
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class Remote:
    """A tool of an MCP server, as this run may call it."""

    server: Server
    listed: Listed


class WorkspaceToolBox:
    """Implements `engine.ports.ToolBox`. `missing`: server name -> why its tools are not here."""

    def __init__(
        self,
        context: ToolContext,
        policy: Policy,
        offer: Offer,
    ) -> None:
        self._context, self._policy, self._offer = context, policy, offer
        self._hands_over = offer.hands_over
        self._local: dict[str, Tool] = {}
        self._remote: dict[str, Remote] = {}
        self._specs: dict[str, ToolSpec] = {}
        self.missing: dict[str, str] = {}

    @classmethod
    async def open(
        cls,
        context: ToolContext,
        allowed: Sequence[str] | None = None,
        client_tools: Sequence[ToolSpec] = (),
        *,
        also: Sequence[str] = (),
        leads: bool = False,
        hands_over: bool = False,
    ) -> WorkspaceToolBox:
        """Collect the tools. `allowed`: names with `*`; None: all that are enabled; empty: none.
        `also`: names that this kind of run has whatever the agent may use.

        `leads`: the workspace's orchestrator, who has the tools of that tag beside those. `hands_over`:
        the caller takes what a tool hands over, so such a tool ends the turn instead of waiting.

        Costs one query at most (none while the policy is remembered, none when `allowed` is empty),
        plus what the connections to MCP servers cost.
        """
        wanted = allowed is None or len(allowed) > 0 or len(also) > 0
        policy = await current_policy(context.actor) if wanted else Policy()
        offer = Offer.of(allowed, also, leads=leads, hands_over=hands_over)
        box = cls(context, policy, offer)
        for spec in client_tools:
            box._add(spec)
        if wanted:
            box._add_registered()
            await box._add_remote()
        return box

    def gate(self) -> WorkspaceGate:
        """The gate of this run."""
        return WorkspaceGate(self._context)

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(self._specs.values())

    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        """Run one call. Raises only `ToolWaits` and `ToolEnds`."""
        wrong = self._refused(call)
        if wrong:
            return ToolResult(wrong, is_error=True)
        context = replace(self._context, key=key)
        remote = self._remote.get(call.name)
        if remote is not None:
            return await self._call_remote(remote, call, context)
        return await self._call_local(self._local[call.name], call, context)

    # --- Collecting ---------------------------------------------------------------------------
    def _add(self, spec: ToolSpec) -> bool:
        if spec.name in self._specs or len(self._specs) >= MOST_TOOLS:
            return False
        self._specs[spec.name] = spec
        return True

    def _add_registered(self) -> None:
        for name, (tool, spec) in self._offer.registered(self._policy).items():
            if self._add(spec):
                self._local[name] = tool

    async def _add_remote(self) -> None:
        servers = self._policy.servers
        if not servers or not self._policy.tools_enabled:
            return
        workspace = self._context.actor.workspace_id
        lists = await asyncio.gather(*(self._listed(workspace, server) for server in servers))
        for server, listed in zip(servers, lists, strict=True):
            for tool in listed:
                name = remote_name(server.name, tool.name)
                spec = ToolSpec(name, tool.description, tool.parameters)
                if not self._offer.may_use(name, self._policy, by_default=True):
                    continue
                if self._add(spec):
                    self._remote[name] = Remote(server, tool)

    async def _listed(self, workspace_id: UUID, server: Server) -> tuple[Listed, ...]:
        """A dead server is a missing tool, never a failed run."""
        try:
            return await mcp.offered(workspace_id, server, end_user=self._context.end_user)
        except mcp.McpFailed as failure:
            self.missing[server.name] = str(failure)
        except Exception:
            log.exception("MCP server %s could not be asked for its tools", server.name)
            self.missing[server.name] = "The server could not be asked for its tools."
        return ()

    # --- Calling ------------------------------------------------------------------------------
    def _refused(self, call: ToolCall) -> str:
        from apps.formations.validation import problems  # late: jsonschema takes 100 ms to load

        if call.error:
            return f"The arguments are not valid JSON: {call.error}"
        spec = self._specs.get(call.name)
        if spec is None or spec.client:
            known = ", ".join(sorted({*self._local, *self._remote})[:40]) or "none"
            return f"There is no tool {call.name[:100]!r} here. Available: {known}."
        remote = self._remote.get(call.name)
        digest = remote.listed.digest if remote else f"registered:{call.name}:{self._hands_over}"
        wrong = problems(digest, spec.parameters, call.arguments, foreign=remote is not None)
        return "\n".join(["The arguments do not fit the tool:", *wrong]) if wrong else ""

    async def _call_local(self, tool: Tool, call: ToolCall, context: ToolContext) -> ToolResult:
        seconds = self._policy.timeout(tool.name, tool.timeout)
        try:
            async with asyncio.timeout(seconds) as limit:
                if tool.hand_over is not None and self._hands_over:
                    raise await _handed(tool.hand_over, context, call)
                value = await tool.call(context, call.arguments)
        except ToolEnds:
            raise
        except tools.WaitForHuman as wait:
            raise ToolWaits(str(wait.approval_id)) from None
        except tools.ToolFailed as failure:
            return as_result(str(failure), tool.max_output, is_error=True)
        except DomainError as error:
            return as_result(error.message, tool.max_output, is_error=True)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                words = f"The tool did not answer within {seconds:g} seconds."
                return ToolResult(words, is_error=True)
            log.exception("tool %s crashed in run %s", tool.name, context.run_id)
            return ToolResult("The tool failed unexpectedly.", is_error=True)
        return as_result(value, tool.max_output)

    async def _call_remote(
        self, remote: Remote, call: ToolCall, context: ToolContext
    ) -> ToolResult:
        seconds = self._policy.timeout(call.name, mcp.CALL_TIMEOUT)
        try:
            text = await mcp.call(
                context.actor.workspace_id,
                remote.server,
                remote.listed.name,
                call.arguments,
                seconds=seconds,
                key=context.key,
                end_user=context.end_user,
            )
        except mcp.McpFailed as failure:
            return as_result(str(failure), LONGEST_ANSWER, is_error=True)
        except Exception:
            log.exception("MCP tool %s crashed in run %s", call.name, context.run_id)
            return ToolResult("The tool failed unexpectedly.", is_error=True)
        return as_result(text, LONGEST_ANSWER)


async def _handed(over: HandOver, context: ToolContext, call: ToolCall) -> ToolEnds:
    """The end of the turn that this call is."""
    payload = await over.payload(context, call.arguments)
    return ToolEnds(over.reason, payload, over.words(payload) if over.words else "")


def remote_name(server: str, tool: str) -> str:
    """`<server>__<tool>` in the alphabet and length that model providers accept."""
    name = _UNFIT.sub("_", f"{server}__{tool}")
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(f"{server}__{tool}".encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}_{digest}"


def as_result(value: Any, most: int, *, is_error: bool = False) -> ToolResult:
    """Text for the model, capped with a marker, storable (no NUL, no half surrogates).

    `data` keeps JSON that needed no change.
    """
    raw = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = raw.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if len(text) > most:
        text = f"{text[:most]}\n[cut: {most} of {len(raw)} characters shown]"
    plain = isinstance(value, str) or text != raw or "\\u0000" in raw
    return ToolResult(text, is_error=is_error, data=None if plain else json.loads(raw))
