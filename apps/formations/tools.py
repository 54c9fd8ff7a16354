"""Tools without a home of their own (the time, a page of the web), and the orchestrator's on agents."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apps.core import tools
from apps.core.clock import now as current_time
from apps.core.tools import Tool, ToolContext, ToolFailed
from apps.formations import profile, selectors, services
from apps.formations.services.agents import MAX_AGENTS
from apps.workspaces.asking import orchestrator_tool

if TYPE_CHECKING:
    from datetime import datetime

    from apps.core.actor import Actor
    from apps.formations.models import Agent

LONGEST_PAGE = 2 * 1024 * 1024  # bytes read
LONGEST_TEXT = 20_000  # characters given
TEXTUAL = ("text/", "application/json", "application/xml", "application/xhtml", "+json", "+xml")
SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "head"})
BLOCKS = frozenset(
    {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre"}
)


class PageText(HTMLParser):
    """The readable text of a page; the title comes first."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._parts: list[str] = []
        self._skipping: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "title":
            self._in_title = True
        elif tag in SKIPPED:
            self._skipping.append(tag)
        elif tag == "body":
            self._skipping.clear()  # a head that was never closed
        elif tag in BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        elif tag in BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skipping:
            self._parts.append(data)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        body = "\n".join(line for line in lines if line)
        title = " ".join(self.title.split())
        return f"{title}\n\n{body}" if title else body


def page_text(html: str) -> str:
    parser = PageText()
    parser.feed(html)
    parser.close()
    return parser.text()


async def now(context: ToolContext, arguments: dict[str, Any]) -> Any:
    del context
    zone = arguments.get("timezone", "UTC")
    try:
        moment: datetime = current_time().astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailed(f"Unknown time zone {zone[:60]!r}.") from None
    return {"time": moment.isoformat(timespec="seconds"), "weekday": moment.strftime("%A")}


async def http_fetch(context: ToolContext, arguments: dict[str, Any]) -> Any:
    from apps.core import net  # late: an HTTP client is no part of starting up

    del context
    method = arguments.get("method", "GET")
    answer = await net.fetch(method, arguments["url"], max_bytes=LONGEST_PAGE, redirects=3)
    kind = answer.headers.get("content-type", "").lower()
    found: dict[str, Any] = {"status": answer.status, "url": answer.url, "content_type": kind}
    if method == "HEAD":
        return found
    if kind and not any(word in kind for word in TEXTUAL):
        raise ToolFailed(f"This is not text but {kind[:100]}.")
    text = decoded(answer.body, kind)
    if "html" in kind:
        text = page_text(text)
    if len(text) > LONGEST_TEXT:
        found["cut"] = f"{LONGEST_TEXT} of {len(text)} characters shown"
    return found | {"text": text[:LONGEST_TEXT]}


def decoded(body: bytes, content_type: str) -> str:
    """The text of a body in the charset its type names, else UTF-8; what does not fit is replaced."""
    _, _, charset = content_type.partition("charset=")
    try:
        return body.decode(charset.split(";")[0].strip(" \"'") or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


# --- The orchestrator's: agents (contract/polpo.md §12) --------------------------------------------
_FIELDS = {
    "role": "role",
    "model": "model",
    "systemPrompt": "system_prompt",
    "allowedTools": "tools",
    "maxTurns": "max_turns",
}


def _list_agents(actor: Actor, _arguments: dict[str, Any]) -> str:
    return "\n".join(map(_agent_line, selectors.list_agents(actor)[:MAX_AGENTS]))


def _agent_line(agent: Agent) -> str:
    told = [f"{agent.name}{' (orchestrator)' if agent.is_default else ''}"]
    told += [f"role: {agent.role}"] if agent.role else []
    told += [f"model: {agent.model}"] if agent.model else []
    told += [f"tools: {', '.join(agent.tools)}"] if agent.tools else []
    return "- " + "; ".join(told)


def _add_agent(actor: Actor, arguments: dict[str, Any]) -> str:
    agent = services.create_agent(actor, name=arguments["name"], **_fields_of(arguments))
    return f"Added the agent {agent.name}."


def _update_agent(actor: Actor, arguments: dict[str, Any]) -> str:
    agent = selectors.find_agent(actor, arguments["name"])
    services.update_agent(actor, agent.id, **_fields_of(arguments))
    return f"Updated the agent {agent.name}."


def _remove_agent(actor: Actor, arguments: dict[str, Any]) -> str:
    agent = selectors.find_agent(actor, arguments["name"])
    services.delete_agent(actor, agent.id)
    return f"Removed the agent {agent.name}."


def _get_teams(actor: Actor, arguments: dict[str, Any]) -> str:
    teams = selectors.list_teams_with_agents(actor)
    wanted = arguments.get("name")
    lines = [
        f"- {team.name}: {', '.join(agent.name for agent in agents) or 'nobody'}"
        for team, agents in teams
        if wanted is None or team.name == wanted
    ]
    return "\n".join(lines) or "There is no such team."


def _rename_team(actor: Actor, arguments: dict[str, Any]) -> str:
    team = services.rename_team(actor, arguments.get("oldName"), arguments["name"])
    return f"The team is called {team.name} now."


def _fields_of(arguments: dict[str, Any]) -> dict[str, Any]:
    return {ours: arguments[said] for said, ours in _FIELDS.items() if said in arguments}


def register_tools() -> None:
    for tool in (NOW, HTTP_FETCH, *AGENT_TOOLS):
        tools.register(tool)


_NAMED = {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[^\\x00]*$"}
_AGENT = {
    "name": _NAMED,
    "role": {"type": "string", "maxLength": 500},
    "model": {"type": "string", "maxLength": 200, "description": "provider/model"},
    "systemPrompt": {"type": "string", "maxLength": profile.MAX_PROMPT},
    "allowedTools": {
        "type": "array",
        "items": {"type": "string", "maxLength": 120},
        "maxItems": profile.MAX_TOOLS,
        "description": "Names of tools; * stands for anything.",
    },
    "maxTurns": {"type": "integer", "minimum": 1, "maximum": profile.MAX_TURNS},
}
AGENT_TOOLS = (
    orchestrator_tool("list_agents", "All agents of this project.", {}, _list_agents),
    orchestrator_tool("get_teams", "The teams and who is in them.", {"name": _NAMED}, _get_teams),
    orchestrator_tool(
        "rename_team",
        "Give a team another name: the first one, unless the old name is given.",
        {"oldName": _NAMED, "name": _NAMED},
        _rename_team,
        required=("name",),
    ),
    orchestrator_tool(
        "add_agent", "Add an agent to this project.", _AGENT, _add_agent, required=("name",)
    ),
    orchestrator_tool(
        "update_agent",
        "Change an agent: only what is given is changed.",
        _AGENT,
        _update_agent,
        required=("name",),
    ),
    orchestrator_tool(
        "remove_agent", "Remove an agent.", {"name": _NAMED}, _remove_agent, required=("name",)
    ),
)


NOW = Tool(
    name="now",
    description="The current date and time.",
    parameters={
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "maxLength": 60,
                "description": "An IANA name such as Europe/Paris. Default: UTC.",
            }
        },
        "additionalProperties": False,
    },
    call=now,
    timeout=5,
)
HTTP_FETCH = Tool(
    name="http_fetch",
    description="Read a public web address as text. Pages are reduced to their readable text.",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 8, "maxLength": 2_000},
            "method": {"enum": ["GET", "HEAD"]},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    call=http_fetch,
    timeout=30,
    max_output=25_000,
    # An address is a way out for what the agent knows: a workspace opens it, or an agent names it.
    enabled_by_default=False,
)
