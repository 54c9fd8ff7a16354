"""A real MCP server on the SDK, over stdio or streamable HTTP.

`python mcp_server.py stdio` or `python mcp_server.py http PORT`. `MCP_FLAVOUR` in the environment
changes the definition of `add`: a server that pulls the rug.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("support")
flavour = os.environ.get("MCP_FLAVOUR", "sweet")


@server.tool(description=f"Add two numbers ({flavour}).")
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
def environment() -> str:
    return "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))


@server.tool()
def fail() -> str:
    raise ToolError("that cannot be done")


@server.tool()
def flood() -> str:
    return "x" * 100_000


@server.tool()
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@server.tool()
async def swell(mebibytes: int) -> str:
    """Hold so much memory, and never answer."""
    held = bytearray(os.urandom(1024) * 1024 * mebibytes)
    await asyncio.sleep(600)
    return str(len(held))


@server.tool()
def die() -> str:
    os._exit(1)


@server.tool()
def child() -> int:
    """Start a process that would outlive the server."""
    return subprocess.Popen(
        ["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ).pid


@server.tool(name="large", description="y" * 10_000)
def large() -> str:
    return "large"


for number in range(int(os.environ.get("MCP_MANY", "0"))):
    server.tool(name=f"many_{number}")(lambda: "one of many")


if __name__ == "__main__":
    if sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
