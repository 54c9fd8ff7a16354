"""The orchestrator's look at the project's settings (contract/polpo.md §12)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from apps.workspaces.asking import orchestrator_tool
from apps.workspaces.selectors import get_workspace, read_preferences

if TYPE_CHECKING:
    from apps.core.actor import Actor


def _get_config(actor: Actor, _arguments: dict[str, Any]) -> str:
    """Preferences hold no secrets: those are sealed elsewhere."""
    workspace = get_workspace(actor)
    chosen = asdict(read_preferences(workspace.settings))
    config = {"project": workspace.slug, "name": workspace.name, "settings": chosen}
    return json.dumps(config, indent=2, ensure_ascii=False)


GET_CONFIG = orchestrator_tool(
    "get_config", "The project's name and settings, as JSON.", {}, _get_config, max_output=40_000
)
