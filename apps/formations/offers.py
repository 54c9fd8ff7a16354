"""Which tools an agent is offered: what it may use, and what its workspace leaves to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from apps.core import tools
from apps.engine.ports import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.core.tools import Tool
    from apps.formations.policy import Policy


@dataclass(frozen=True, slots=True)
class Offer:
    """What one kind of run asks for; see `WorkspaceToolBox.open` for the words."""

    allowed: tuple[str, ...] | None = None
    also: frozenset[str] = frozenset()
    leads: bool = False
    hands_over: bool = False

    @classmethod
    def of(
        cls, allowed: Sequence[str] | None, also: Sequence[str], *, leads: bool, hands_over: bool
    ) -> Offer:
        """`allowed` and `also` as the agent spells them."""
        names = None if allowed is None else tuple(map(tools.canonical_tool, allowed))
        return cls(names, frozenset(also), leads, hands_over)

    def registered(self, policy: Policy) -> dict[str, tuple[Tool, ToolSpec]]:
        """Name -> tool and what a model is told of it. Remembered as long as the policy is."""
        every = tools.registered()
        key = (self, len(every))
        known = policy.offers.get(key)
        if known is None:
            fits = [tool for tool in every if self._may_have(tool, policy)]
            known = {tool.name: (tool, spec_of(tool, hands_over=self.hands_over)) for tool in fits}
            policy.offers[key] = known
        return known

    def may_use(self, name: str, policy: Policy, *, by_default: bool) -> bool:
        """An agent that names a tool exactly gets it though it is off by default."""
        if name in self.also:
            return policy.allows(name)
        if self.allowed is None:
            return policy.allows(name, by_default=by_default)
        if name in self.allowed:
            return policy.allows(name)
        fits = any(fnmatchcase(name, pattern) for pattern in self.allowed)
        return fits and policy.allows(name, by_default=by_default)

    def _may_have(self, tool: Tool, policy: Policy) -> bool:
        """The orchestrator's tools are for it alone, and for an agent that names one exactly."""
        if tool.hand_over is not None and tool.hand_over.only and not self.hands_over:
            return False
        if tools.ORCHESTRATOR not in tool.tags:
            return self.may_use(tool.name, policy, by_default=tool.enabled_by_default)
        named = self.allowed is not None and tool.name in self.allowed
        return (self.leads or named) and policy.allows(tool.name)


_told: dict[str, tuple[Tool, ToolSpec, ToolSpec]] = {}


def spec_of(tool: Tool, *, hands_over: bool) -> ToolSpec:
    """What a model is told of a registered tool: made once, and so is its JSON."""
    known = _told.get(tool.name)
    if known is None or known[0] is not tool:
        over = tool.hand_over
        plain = ToolSpec(tool.name, tool.description, tool.parameters)
        ending = plain
        if over is not None:
            ending = replace(plain, parameters=over.parameters or tool.parameters, ends_turn=True)
        known = _told[tool.name] = (tool, plain, ending)
    return known[2] if hands_over else known[1]
