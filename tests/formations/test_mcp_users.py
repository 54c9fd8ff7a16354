"""MCP servers that take what the user of a turn brought."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.core.tools import ToolContext
from apps.engine.ports import ToolCall
from apps.formations import mcp, mcp_users
from apps.formations.mcp_users import NotBrought, brought
from apps.formations.models import McpServer
from apps.formations.services import add_credential, add_mcp_server, remove_credential
from apps.formations.toolbox import WorkspaceToolBox
from apps.formations.user_credentials import services_of
from tests.support.formations import MANY_USERS, document_of, make_formation

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "support" / "mcp_server.py"), "stdio"]
HOLE = "${{ user.credentials.GitHub }}"
FORGE = {"id": "forge", "type": "command", "env": {"FORGE_TOKEN": HOLE, "LOGS": "off"}}


def web(**auth):
    return {"id": "web_forge", "type": "http", "auth": auth}


@pytest.fixture
def team(aurora):
    servers = [FORGE, web(type="bearer", token=HOLE), {"id": "clock", "type": "http"}]
    document = document_of(config={"id": "team", **MANY_USERS}, mcp=servers)
    return make_formation(aurora.ada, document=document)


@pytest.fixture
def asked(team, at_home):
    """`asked(user)`: the environment that the server says it has in that user's turn."""
    operator = replace(team.home_owner, platform=True)
    sealed = {"LOGS": "off"}
    add_mcp_server(operator, name="forge", transport="stdio", command=PROGRAM, env=sealed)

    async def told(user):
        hands = Actor.for_engine(team.home_id)
        box = await WorkspaceToolBox.open(
            ToolContext(hands, uuid7(), None, None, "", end_user=user), ["forge__*"]
        )
        if box.missing:
            return box.missing["forge"]
        found = await box.call(ToolCall("1", "forge__environment", {}), key="k")
        return [line for line in found.content.split("\n") if line.startswith(("FORGE", "LOGS"))]

    return lambda user: at_home(told(user))


def give(team, user, token):
    return add_credential(team.home_owner, user, "github", {"token": token})


def test_each_user_has_a_connection_with_their_credential(team, asked):
    for user in ("kim", "lee"):
        give(team, user, f"token-of-{user}")
    assert asked("kim") == ["FORGE_TOKEN=token-of-kim", "LOGS=off"]
    assert asked("lee") == ["FORGE_TOKEN=token-of-lee", "LOGS=off"]
    assert len(mcp._pool) == 2
    assert asked("kim") == ["FORGE_TOKEN=token-of-kim", "LOGS=off"]
    assert len(mcp._pool) == 2


def test_who_brought_nothing_is_told_so_and_hurts_nobody(team, asked):
    give(team, "kim", "token-of-kim")
    assert asked("lee") == "The user has not brought a credential for github yet."
    assert asked("kim")[0] == "FORGE_TOKEN=token-of-kim"
    assert McpServer.unscoped.get().status == "ready"


def test_a_changed_credential_counts_at_once(team, asked):
    first = give(team, "kim", "the-first")
    assert asked("kim")[0] == "FORGE_TOKEN=the-first"
    second = give(team, "kim", "the-second")
    assert asked("kim")[0] == "FORGE_TOKEN=the-second"
    for row in (first, second):
        remove_credential(team.home_owner, "kim", row.pk)
    assert "has not brought" in asked("kim")


def test_a_turn_of_nobody_has_what_is_sealed(team, asked):
    give(team, "kim", "token-of-kim")
    assert asked("") == ["LOGS=off"]


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ({"type": "bearer", "token": HOLE}, {"Authorization": "Bearer hush"}),
        ({"type": "api_key", "key": HOLE}, {"X-API-Key": "hush"}),
        ({"type": "api_key", "key": HOLE, "header": "X-Forge"}, {"X-Forge": "hush"}),
        ({"type": "basic", "username": "u", "password": HOLE}, {"Authorization": "Basic dTpodXNo"}),
    ],
)
def test_a_web_server_is_told_by_headers(aurora, auth, headers):
    document = document_of(config={"id": "team", **MANY_USERS}, mcp=[web(**auth)])
    team = make_formation(aurora.ada, document=document)
    give(team, "kim", "hush")
    assert brought(team.home_id, "web-forge", "kim") == headers
    with pytest.raises(NotBrought):
        brought(team.home_id, "web-forge", "lee")


def test_a_server_that_asks_for_nothing_is_everybodys(team, aurora, count_queries):
    brought(team.home_id, "clock", "kim")  # the document is read once
    with count_queries(1):
        assert mcp_users.brought(team.home_id, "clock", "kim") is None
    assert brought(aurora.id, "forge", "kim") is None
    assert [found["server_id"] for found in services_of(team.formation.current.document)] == [
        "forge",
        "web_forge",
    ]
