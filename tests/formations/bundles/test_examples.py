"""The examples deploy as they are, and the tool that one of them brings answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from apps.formations import mcp, services
from apps.formations.bundles import pack, read, unpack
from apps.formations.policy import Server

EXAMPLES = Path(__file__).parents[3] / "examples"
ORDERS = EXAMPLES / "help-desk" / "tools" / "orders.py"


@pytest.mark.parametrize("name", ["hello-local", "help-desk"])
def test_an_example_is_whole_and_needs_no_key(name, tmp_path):
    bundle = read(unpack(io.BytesIO(pack(EXAMPLES / name)), tmp_path))
    assert (bundle.id, bundle.warnings) == (name, ())
    assert bundle.document["secrets_used"] == []
    assert bundle.document["triggers"]


def test_every_example_is_tested_here():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {
        "hello-local",
        "help-desk",
    }


def test_the_local_example_thinks_with_the_embedded_model():
    from apps.engine.choice import LOCAL

    assert read(EXAMPLES / "hello-local").document["config"]["llm"]["models"] == [{"text": LOCAL}]


def test_the_help_desk_has_everything_a_formation_can_have():
    document = read(EXAMPLES / "help-desk").document
    assert [agent["id"] for agent in document["agents"]] == ["clerk", "writer"]
    assert document["mcp"][0]["files"] == ["tools/orders.py"]
    assert {item["path"] for item in document["knowledge"]} == {
        "knowledge/shipping.md",
        "knowledge/returns.md",
    }
    assert (list(document["sops"]), list(document["skills"])) == (["refund"], ["kind-letters"])


def asked(*messages):
    """What the example's server answers to these lines."""
    lines = "".join(f"{message}\n" for message in messages)
    done = subprocess.run(
        [sys.executable, ORDERS],
        input=lines,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_tool_of_the_help_desk_answers_and_refuses():
    def call(**params):
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})

    found, lost, cost, none, odd, broken = asked(
        call(name="find_order", arguments={"number": "a-1002"}),
        call(name="find_order", arguments={"number": "A-9"}),
        call(name="shipping_cost", arguments={"kilograms": 2, "zone": "home"}),
        call(name="drop_orders"),
        '{"jsonrpc": "2.0", "id": 2, "method": "resources/list"}',
        '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        "[]",
        "no json",
    )
    assert '"item": "Oak chair"' in found["result"]["content"][0]["text"]
    assert (lost["result"]["isError"], cost["result"]["isError"]) == (True, False)
    assert cost["result"]["content"][0]["text"] == "7.10"
    assert [answer["error"]["code"] for answer in (none, odd, broken)] == [-32602, -32601, -32700]


@pytest.mark.django_db(transaction=True)
def test_our_own_client_reaches_the_tool_of_the_help_desk(operator, at_home):
    server = services.add_mcp_server(
        operator, name="orders", transport="stdio", command=[sys.executable, str(ORDERS)]
    )
    place = Server(server.pk, server.name, server.updated_at)
    offered = at_home(mcp.offered(operator.workspace_id, place))
    assert {tool.name for tool in offered} == {"find_order", "shipping_cost"}
    at_home(mcp.close_all())
