"""`/mcp` on a formation, spoken to by the SDK's own client; and what a formation tells everybody."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from django.urls import path

from apps.formations.api.formation_view import FormationView
from apps.surfaces.muxi_formation import CLIENT
from polymux.gateway import tool_server, tool_table
from tests.support.formations import document_of, make_formation
from tests.support.serving import serving

pytestmark = pytest.mark.django_db


class Sessions(FormationView):
    """A stand-in for the routes behind two of the tools."""

    realm = CLIENT

    def get(self, request, **_):
        seen = self.admission.credentials
        return self.enveloped("list", "x", {"user": self.whose(), "query": seen.query})

    def post(self, request, **found):
        return self.enveloped("one", "x", {"user": self.whose(), "body": request.data, **found})


urlpatterns = [
    path("v1/sessions", Sessions.as_view()),
    path("v1/sessions/<str:session_id>/restore", Sessions.as_view()),
]


@pytest.fixture
def routed(settings):
    settings.FORMATION_URLCONF = __name__
    tool_server.offered.cache_clear()
    yield
    tool_server.offered.cache_clear()


def spoken(url, headers, *calls):
    """(names of the tools, the result of each call), over the SDK's client."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def talk():
        web = httpx.AsyncClient(headers=headers)
        wire = streamable_http_client(url, http_client=web)
        async with web, Client(wire, cache=None) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, [await client.call_tool(*call) for call in calls]

    return asyncio.run(asyncio.wait_for(talk(), 30))


@pytest.mark.django_db(transaction=True)
def test_a_client_finds_the_routes_as_tools(team, routed):
    calls = (
        ("list_sessions", {"limit": 5, "active_only": True, "user_id": "kim"}),
        ("restore_session", {"session_id": "a/b ?", "messages": [], "user_id": "kim"}),
        ("list_sessions", {}),
        ("list_sessions", {"colour": "red"}),
        ("restore_session", {"session_id": "s"}),
        ("list_memories", {}),
    )
    with serving() as port:
        url = f"http://127.0.0.1:{port}/mcp/team"
        tools, results = spoken(url, {"X-MUXI-CLIENT-KEY": team.client_key}, *calls)
    assert tools == ["list_sessions", "restore_session"]  # those that are routed here
    listed, restored, nobody, unknown, incomplete, unrouted = results
    assert listed.structured_content == {
        "user": "kim",
        "query": {"limit": "5", "active_only": "true"},
    }
    assert restored.structured_content["body"] == {"messages": []}
    assert restored.structured_content["session_id"] == "a\N{FRACTION SLASH}b ?"
    refused = [one.content[0].text for one in (nobody, unknown, incomplete, unrouted)]
    assert all(one.is_error for one in (nobody, unknown, incomplete, unrouted))
    assert refused == [
        "INVALID_REQUEST: X-Muxi-User-ID header is required.",
        "list_sessions takes no argument 'colour'.",
        "restore_session needs the argument 'messages'.",
        "There is no tool 'list_memories'.",
    ]


@pytest.mark.django_db(transaction=True)
def test_only_the_formations_client_key_opens_its_tools(team, borealis, routed):
    other = make_formation(borealis.mallory, "other")
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with serving() as port:
        url = f"http://127.0.0.1:{port}/mcp/team"
        for key in ("nobody", f"client:{other.client_key}", "admin"):
            refused = httpx.post(url, json=hello, headers=team.headers(key))
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "UNAUTHORIZED")
        assert httpx.get(url, headers=team.headers()).status_code == 405
        assert httpx.post(f"{url[:-4]}nobody", json=hello).status_code == 404


def test_a_tool_says_all_that_its_path_needs():
    names = [tool.name for tool in tool_table.TOOLS]
    assert len(set(names)) == len(names)
    for tool in tool_table.TOOLS:
        schema = tool.input_schema
        assert set(schema["required"]) <= schema["properties"].keys(), tool.name
        assert set(tool.in_path) <= set(schema["required"]), tool.name


def test_the_agent_card_tells_who_answers(aurora):
    agents = [
        {"id": "helper", "name": "Helper", "description": "Helps", "role": "clerk"},
        {"id": "away", "name": "Away", "description": "Gone", "active": False},
    ]
    team = make_formation(aurora.ada, document=document_of(agents=agents))
    card = json.loads(team.get("/.well-known/agent-card.json", key="nobody").content)
    assert (card["name"], card["version"], card["url"]) == ("Team", "1.0.0", "http://testserver/v1")
    assert card["skills"] == [
        {"id": "helper", "name": "Helper", "description": "Helps", "tags": ["clerk"]}
    ]


def test_a_formation_has_its_own_documents(team):
    page = team.get("/docs", key="nobody")
    assert page.status_code == 200
    assert b'data-url="openapi.json"' in page.content
    document = json.loads(team.get("/openapi.json", key="nobody").content)
    assert document["openapi"].startswith("3.")
    assert team.get("/openapi", key="nobody").status_code == 404
