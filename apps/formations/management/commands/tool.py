"""`manage.py tool`: what a workspace allows its agents to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.accounts.operating import Row, number
from apps.core import tools
from apps.core.errors import NotFound
from apps.formations.policy import tool_policy
from apps.formations.selectors import list_mcp_servers, tool_settings
from apps.formations.services import set_tool
from apps.formations.toolbox import remote_name
from apps.workspaces.operating import WorkspaceCommand

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.models import ToolSetting


class Command(WorkspaceCommand):
    help = "List the tools of a workspace; switch them on or off; have a human asked first."
    examples = """
  manage.py tool list --workspace default
  manage.py tool enable --workspace default http_fetch
  manage.py tool enable --workspace default 'github__*' --timeout 120
  manage.py tool ask --workspace default 'github__delete_*'
  manage.py tool ask --workspace default http_fetch --never
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, "list every tool: on or off, and whether a human is asked")
        for name, run, words in (
            ("enable", self.enable, "switch a tool on; a pattern may hold *"),
            ("disable", self.disable, "switch a tool off"),
            ("ask", self.ask, "ask a human before the tool runs"),
        ):
            parser = self.add_verb(name, run, words)
            parser.add_argument("name", metavar="NAME")
            parser.add_argument(
                "--timeout", metavar="S", help="seconds it may take; 'none' for the tool's own"
            )
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--never", action="store_true", help="do not ask")
        which.add_argument("--default", action="store_true", help="as the tool itself says")

    def rows(self, options: dict[str, Any]) -> list[Row]:
        actor = self.actor(options)
        policy, settings = tool_policy(actor), tool_settings(actor)
        known = {tool.name: tool for tool in tools.registered()}
        names = {*known, *settings, *_remote_names(actor)}
        return [
            {
                "tool": name,
                "on": policy.allows(
                    name, by_default=name not in known or known[name].enabled_by_default
                ),
                "asks": policy.needs_human(name, known.get(name)),
                "timeout": policy.timeout(name, known[name].timeout if name in known else 60.0),
                "set": name in settings,
            }
            for name in sorted(names)
        ]

    def enable(self, options: dict[str, Any]) -> Row:
        return self._set(options, enabled=True)

    def disable(self, options: dict[str, Any]) -> Row:
        return self._set(options, enabled=False)

    def ask(self, options: dict[str, Any]) -> Row:
        answer = None if options["default"] else not options["never"]
        return self._set(options, needs_approval=answer)

    def _set(self, options: dict[str, Any], **word: Any) -> Row:
        """Change what is given and keep the rest of the workspace's word."""
        actor, name = self.actor(options), options["name"]
        _check_known(name)
        if (seconds := options["timeout"]) is not None:
            word["timeout"] = None if seconds == "none" else number("timeout", seconds)
        present = tool_settings(actor).get(name)
        return _row(set_tool(actor, name, **(_present(name, present) | word)))


def _check_known(name: str) -> None:
    """Refuse a misspelt name. Patterns and the tools of MCP servers (`server__tool`) may come later."""
    if "*" not in name and "__" not in name and tools.find(name) is None:
        raise NotFound(f"There is no tool {name!r}; `tool list` names them.")


def _present(name: str, setting: ToolSetting | None) -> dict[str, Any]:
    if setting is None:
        tool = tools.find(name)
        on = tool is None or tool.enabled_by_default
        return {"enabled": on, "needs_approval": None, "timeout": None}
    fields = ("enabled", "needs_approval", "timeout")
    return {field: getattr(setting, field) for field in fields}


def _remote_names(actor: Actor) -> set[str]:
    """The tools that enabled MCP servers offered at the last contact."""
    return {
        remote_name(server.name, tool["name"])
        for server in list_mcp_servers(actor).filter(enabled=True)
        for tool in server.tools
    }


def _row(setting: ToolSetting) -> Row:
    return {
        "tool": setting.tool,
        "on": setting.enabled,
        "asks": "as the tool says" if setting.needs_approval is None else setting.needs_approval,
        "timeout": setting.timeout,
    }
