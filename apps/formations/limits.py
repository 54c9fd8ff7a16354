"""What one formation may take, so that the others are served (issue: a looping agent starves nobody).

The formation file may say less or more in its `limits` block; what it leaves out is the installation's:
`max_concurrent_turns`, `tokens_per_minute` (0: as many as there are) and `tool_memory_mb`, each tool
process with all it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.errors import NotFound
from apps.formations import registry
from apps.formations.errors import FormationBusy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

MEBIBYTE = 1024 * 1024
MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Turns at once, tokens a minute (0: no limit), bytes of memory of one tool process."""

    turns: int
    tokens_a_minute: int
    tool_memory: int

    def check(self, *, open_turns: int, tokens: int) -> None:
        """Raise FormationBusy when one more turn would be too much."""
        if open_turns >= self.turns:
            raise FormationBusy(f"{open_turns} turns are under way here. Try again.", retry_after=1)
        if self.tokens_a_minute and tokens >= self.tokens_a_minute:
            raise FormationBusy("This formation's tokens for the minute are spent.", retry_after=10)


def limits_of(config: Mapping[str, Any]) -> Limits:
    """The limits of a formation file (`running.config`; {}: the installation's own)."""
    said = config.get("limits")
    said = said if isinstance(said, dict) else {}
    return Limits(
        turns=_number(said, "max_concurrent_turns", settings.FORMATION_TURNS, low=1),
        tokens_a_minute=_number(said, "tokens_per_minute", settings.FORMATION_TOKENS_PER_MIN),
        tool_memory=_number(said, "tool_memory_mb", settings.TOOL_MEMORY_MB, low=16) * MEBIBYTE,
    )


def tool_memory(workspace_id: UUID) -> int:
    """Bytes that one tool process of this workspace may hold, whether or not it is a formation's."""
    try:
        config = registry.running(workspace_id).config
    except NotFound:
        config = {}
    return limits_of(config).tool_memory


def _number(said: Mapping[str, Any], name: str, usual: int, *, low: int = 0) -> int:
    """A whole number of the file, or what is usual."""
    value = said.get(name)
    return value if type(value) is int and low <= value <= MOST else usual
