"""`manage.py agent`: a workspace's agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.accounts.operating import Row, number, text_or_file, whole
from apps.core.checks import wrong
from apps.formations.errors import AgentNotFound
from apps.formations.selectors import find_agent, list_agents
from apps.formations.services import create_agent, delete_agent, update_agent
from apps.workspaces.operating import WorkspaceCommand

if TYPE_CHECKING:
    from apps.formations.models import Agent


class Command(WorkspaceCommand):
    help = "List, create, change and delete the agents of a workspace."
    examples = """
  manage.py agent list --workspace default
  manage.py agent create --workspace default --name Scout --model openai/gpt-4.1 --prompt @scout.md
  manage.py agent update --workspace default --name Scout --tools 'web_*,now' --max-turns 10
  manage.py agent update --workspace default --name Scout --rename Ranger --tools all --default
  manage.py agent delete --workspace default --name Ranger
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, "list the agents")
        self._add_fields(self.add_verb("create", self.create, "create an agent"))
        update = self.add_verb("update", self.update, "change what is given, keep the rest")
        self._add_fields(update)
        update.add_argument("--rename", metavar="NAME", help="its new name")
        delete = self.add_verb("delete", self.delete, "delete an agent")
        delete.add_argument("--name", required=True)

    def _add_fields(self, parser: Any) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--role", help="what it is for, in a few words")
        parser.add_argument("--model", metavar="REF", help="provider/model; '' for the default")
        parser.add_argument("--fallback", metavar="REF", help="the model to use when that fails")
        parser.add_argument("--prompt", metavar="TEXT|@FILE", help="system prompt; @- reads stdin")
        parser.add_argument(
            "--tools",
            metavar="a,b*",
            help="names and patterns; 'all' for what is enabled, '' for none",
        )
        parser.add_argument("--temperature", metavar="0-2", help="'none' leaves it to the model")
        parser.add_argument("--max-turns", metavar="N")
        parser.add_argument("--default", action="store_true", help="make it the default agent")

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [_row(agent) for agent in list_agents(self.actor(options))]

    def create(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        return _row(create_agent(actor, name=options["name"], **_fields(options)))

    def update(self, options: dict[str, Any]) -> Row:
        actor, changes = self.actor(options), _fields(options)
        if options["rename"] is not None:
            changes["name"] = options["rename"]
        if not changes:
            raise wrong("options", "Say what to change.")
        return _row(update_agent(actor, _named(actor, options).pk, **changes))

    def delete(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        agent = _named(actor, options)
        delete_agent(actor, agent.pk)
        return {"deleted": agent.name}


def _named(actor: Any, options: dict[str, Any]) -> Agent:
    try:
        return find_agent(actor, options["name"].replace("\x00", ""))
    except AgentNotFound:
        raise AgentNotFound(f"There is no agent {options['name']!r} here.") from None


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """What was given, as fields of the service."""
    plain = {"role": "role", "model": "model", "fallback": "fallback_model"}
    fields = {field: options[name] for name, field in plain.items() if options[name] is not None}
    if options["prompt"] is not None:
        fields["system_prompt"] = text_or_file("prompt", options["prompt"])
    if (tools := options["tools"]) is not None:
        names = [name.strip() for name in tools.split(",") if name.strip()]
        fields["tools"] = None if tools == "all" else names
    if (warmth := options["temperature"]) is not None:
        fields["temperature"] = None if warmth == "none" else number("temperature", warmth)
    if options["max_turns"] is not None:
        fields["max_turns"] = whole("max_turns", options["max_turns"])
    if options["default"]:
        fields["is_default"] = True
    return fields


def _row(agent: Agent) -> Row:
    return {
        "name": agent.name,
        "default": agent.is_default,
        "model": agent.model or "default",
        "fallback": agent.fallback_model or None,
        "tools": "all" if agent.tools is None else agent.tools,
        "temperature": agent.temperature,
        "max_turns": agent.max_turns,
        "role": agent.role,
        "prompt": agent.system_prompt,
    }
