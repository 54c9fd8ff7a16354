"""`manage.py mcp`: the MCP servers of a workspace."""

from __future__ import annotations

from argparse import REMAINDER
from typing import TYPE_CHECKING, Any

from apps.accounts.operating import Row, pairs
from apps.core.aio import spawn
from apps.core.checks import wrong
from apps.core.errors import Conflict, UpstreamFailed
from apps.formations import mcp
from apps.formations.errors import McpServerNotFound
from apps.formations.policy import Server
from apps.formations.selectors import get_mcp_server, list_mcp_servers
from apps.formations.services import accept_mcp_tools, add_mcp_server, remove_mcp_server
from apps.formations.toolbox import remote_name
from apps.workspaces.operating import WorkspaceCommand

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.models import McpServer


class Command(WorkspaceCommand):
    help = "List, add, remove and check the MCP servers of a workspace; accept changed tools."
    examples = """
  manage.py mcp list --workspace default
  manage.py mcp add --workspace default --name docs --url https://mcp.example.org/mcp \\
      --header Authorization=@docs-header.txt
  manage.py mcp add --workspace default --name files --env ROOT=/srv \\
      --command npx -y @modelcontextprotocol/server-filesystem /srv
  manage.py mcp check --workspace default --name files
  manage.py mcp accept --workspace default --name files
  manage.py mcp remove --workspace default --name files

A value @FILE is read from that file, so that no secret stands on the command line.
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, "list the servers and what the last contact said")
        self._add_form(self.add_verb("add", self.add, "add a server; `check` contacts it"))
        for name, run, words in (
            ("remove", self.remove, "remove a server: its tools are gone"),
            ("accept", self.accept, "accept tools whose definition changed"),
            ("check", self.check_server, "contact the server now and print its tools"),
        ):
            self.add_verb(name, run, words).add_argument("--name", required=True)

    def _add_form(self, parser: Any) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--url", help="of a server that speaks HTTP")
        parser.add_argument("--header", action="append", metavar="K=V", help="sealed, never shown")
        parser.add_argument("--env", action="append", metavar="K=V", help="sealed, never shown")
        parser.add_argument(
            "--command",
            nargs=REMAINDER,
            metavar="PROG ARG",
            help="a program on this machine; comes last: all that follows belongs to it",
        )

    def rows(self, options: dict[str, Any]) -> list[Row]:
        return [_row(server) for server in list_mcp_servers(self.actor(options))]

    def add(self, options: dict[str, Any]) -> Row:
        actor, command = self.actor(options), options["command"]
        if bool(options["url"]) == bool(command):
            raise wrong("options", "Give either --url or --command.")
        server = add_mcp_server(
            actor,
            name=options["name"],
            transport="stdio" if command else "http",
            url=options["url"] or "",
            command=command or (),
            headers=pairs("header", options["header"]),
            env=pairs("env", options["env"]),
        )
        return _row(server)

    def remove(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        server = _named(actor, options["name"])
        remove_mcp_server(actor, server.pk)
        return {"removed": server.name}

    def accept(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        return _row(accept_mcp_tools(actor, _named(actor, options["name"]).pk))

    def check_server(self, options: dict[str, Any]) -> list[Row]:
        actor = self.actor(options)
        server = _named(actor, options["name"])
        if not server.enabled:
            raise Conflict(f"The server {server.name} is switched off.")
        found = spawn(_offered(actor, server)).result()
        changed = [tool["name"] for tool in get_mcp_server(actor, server.pk).tools if _new(tool)]
        if changed:
            names = ", ".join(changed)
            self.stderr.write(f"Changed since they were accepted, not offered: {names}")
        return found


async def _offered(actor: Actor, server: McpServer) -> list[Row]:
    """Its tools as agents call them. Raises UpstreamFailed with the words of the failure."""
    place = Server(server.pk, server.name, server.updated_at)
    try:
        listed = await mcp.offered(actor.workspace_id, place)
    except mcp.McpFailed as failure:
        raise UpstreamFailed(" ".join(str(failure).split())) from None
    finally:
        await mcp.close_all()
    return [
        {"tool": remote_name(server.name, tool.name), "description": tool.description}
        for tool in listed
    ]


def _new(tool: dict[str, Any]) -> bool:
    return bool(tool.get("changed"))


def _named(actor: Actor, name: str) -> McpServer:
    server = list_mcp_servers(actor).filter(name=name.replace("\x00", "")).first()
    if server is None:
        raise McpServerNotFound(f"There is no MCP server {name!r} here.")
    return server


def _row(server: McpServer) -> Row:
    """Without headers and environment; a command may hold a key, so only its program is shown."""
    return {
        "name": server.name,
        "transport": server.transport,
        "address": server.url or server.command[0],
        "enabled": server.enabled,
        "status": server.status,
        "tools": len(server.tools),
        "changed": [tool["name"] for tool in server.tools if _new(tool)],
        "error": server.last_error,
    }
