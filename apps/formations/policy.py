"""What a workspace says about its tools, read in one query and remembered for two seconds.

The cache is per process: a change is seen at once where it was made and within `FRESH` elsewhere.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.core import rows
from apps.core.actor import Scope
from apps.core.aio import db_call
from apps.workspaces.preferences import read_preferences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.core.actor import Actor
    from apps.core.tools import Tool

FRESH = 2.0  # seconds
MOST = 2_000  # workspaces remembered

# One statement: the preference, the settings and the servers of one workspace.
_READ = """
SELECT w.settings,
       (SELECT coalesce(json_agg(json_build_array(t.tool, t.enabled, t.needs_approval, t.timeout)), '[]')
          FROM formations_toolsetting t WHERE t.workspace_id = w.id),
       (SELECT coalesce(json_agg(json_build_array(m.id, m.name, m.updated_at)), '[]')
          FROM formations_mcpserver m WHERE m.workspace_id = w.id AND m.enabled)
  FROM workspaces_workspace w WHERE w.id = %s
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """The workspace's word on one tool. None: as the tool itself says. `timeout` seconds."""

    enabled: bool = True
    needs_approval: bool | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """An enabled MCP server; `version` changes when its configuration does."""

    id: UUID
    name: str
    version: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """`always_ask`: names (`*` stands for anything) that need a human whatever else is said.

    `offers` remembers, while the policy itself is, which registered tools it leaves to whom
    (`toolbox.Offer`): a chat asks for the same half a hundred each time.
    """

    tools_enabled: bool = True
    rules: Mapping[str, Rule] = field(default_factory=dict)
    always_ask: tuple[str, ...] = ()
    servers: tuple[Server, ...] = ()
    offers: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def rule(self, tool: str) -> Rule | None:
        """The rule of exactly this name, else of the longest pattern that fits."""
        exact = self.rules.get(tool)
        if exact is not None:
            return exact
        fits = [name for name in self.rules if "*" in name and fnmatchcase(tool, name)]
        return self.rules[max(fits, key=len)] if fits else None

    def allows(self, tool: str, *, by_default: bool = True) -> bool:
        if not self.tools_enabled:
            return False
        rule = self.rule(tool)
        return by_default if rule is None else rule.enabled

    def needs_human(self, name: str, tool: Tool | None) -> bool:
        """By table only: the workspace's preference, its setting, then the tool's definition."""
        if any(fnmatchcase(name, pattern) for pattern in self.always_ask):
            return True
        rule = self.rule(name)
        if rule is not None and rule.needs_approval is not None:
            return rule.needs_approval
        return tool is not None and tool.needs_approval

    def timeout(self, name: str, default: float) -> float:
        rule = self.rule(name)
        return default if rule is None or rule.timeout is None else rule.timeout


_lock = threading.Lock()
_known: dict[UUID, tuple[float, Policy]] = {}


def tool_policy(actor: Actor) -> Policy:
    """The workspace's policy, from the database: one query."""
    actor.need(Scope.READ)
    found = rows.execute(_READ, [actor.workspace_id])
    policy = _policy(*found[0]) if found else Policy()
    with _lock:
        if len(_known) >= MOST:
            _known.clear()
        _known[actor.workspace_id] = (time.monotonic(), policy)
    return policy


def remembered_policy(actor: Actor) -> Policy | None:
    """The policy if it was read less than `FRESH` seconds ago. No query."""
    actor.need(Scope.READ)
    with _lock:
        entry = _known.get(actor.workspace_id)
    return entry[1] if entry and time.monotonic() - entry[0] < FRESH else None


async def current_policy(actor: Actor) -> Policy:
    """For the loop: the policy as remembered, else one query on the database's executor."""
    known = remembered_policy(actor)
    return await db_call(tool_policy, actor) if known is None else known


def forget_policy(workspace_id: UUID) -> None:
    with _lock:
        _known.pop(workspace_id, None)


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, (str, bytes)) else value


def _policy(settings: Any, tools: Any, servers: Any) -> Policy:
    chosen = read_preferences(_loaded(settings) or {})
    return Policy(
        tools_enabled=chosen.tools_enabled,
        rules={name: Rule(on, ask, limit) for name, on, ask, limit in _loaded(tools)},
        always_ask=chosen.tools_need_approval,
        servers=tuple(
            Server(UUID(id_), name, datetime.fromisoformat(version))
            for id_, name, version in sorted(_loaded(servers), key=lambda row: row[1])
        ),
    )
