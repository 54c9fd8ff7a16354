from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from apps.core import tools
from apps.core.actor import Actor
from apps.core.aio import spawn
from apps.core.ids import uuid7
from apps.core.tools import Tool, ToolContext
from apps.formations import mcp, policy
from apps.formations.toolbox import WorkspaceToolBox

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _fresh_policies():
    policy._known.clear()


@pytest.fixture
def context(aurora) -> ToolContext:
    return ToolContext(Actor.for_engine(aurora.id), uuid7(), uuid7(), None, "")


@pytest.fixture
def register(monkeypatch):
    """`register("name", function, **options)`: a tool for this test only."""
    monkeypatch.setattr(tools, "_registry", dict(tools._registry))

    def add(name: str, call: Any, **options: Any) -> Tool:
        return tools.register(
            Tool(name, f"The tool {name}.", options.pop("parameters", SCHEMA), call, **options)
        )

    return add


@pytest.fixture
def operator(aurora):
    """Ada as an operator of the installation."""
    return replace(aurora.ada, platform=True)


@pytest.fixture
def at_home():
    """Run a coroutine in the home loop; every MCP connection is closed afterwards."""

    def run(work: Any) -> Any:
        return spawn(work).result(60)

    yield run
    spawn(mcp.close_all()).result(20)


@pytest.fixture
def box(context):
    """`box(allowed)`: an opened toolbox."""

    def opened(*args: Any) -> WorkspaceToolBox:
        return asyncio.run(WorkspaceToolBox.open(context, *args))

    return opened
