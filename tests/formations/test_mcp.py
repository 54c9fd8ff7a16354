"""MCP servers for real: a child process and a streamable HTTP server on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient
from apps.engine.ports import ToolCall
from apps.formations import mcp, selectors, services
from apps.formations.errors import McpServerNameTaken, StdioForOperators
from apps.formations.models import McpServer
from apps.formations.toolbox import WorkspaceToolBox

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
STDIO = [sys.executable, SCRIPT, "stdio"]


@pytest.fixture
def opened(context, at_home):
    """`opened()`: a toolbox on the home loop; `opened.call(box, name, arguments)`."""

    def open_box(allowed=None):
        return at_home(WorkspaceToolBox.open(context, allowed))

    def call(box, name, arguments, key="k"):
        return at_home(box.call(ToolCall("c1", name, arguments), key=key))

    open_box.call = call
    open_box.names = lambda box: {spec.name for spec in at_home(box.specs())}
    return open_box


@pytest.fixture
def child(operator):
    """A stdio server called `kit`."""
    return services.add_mcp_server(operator, name="kit", transport="stdio", command=STDIO)


@contextmanager
def web_server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SCRIPT, "http", str(port)])
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def http_url():
    with web_server() as url:
        yield url


def row(server):
    return McpServer.unscoped.get(id=server.id)


def children():
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if is_server(process)]


def is_server(process):
    """One that ended a moment ago, or waits to be reaped, is none any more."""
    try:
        return SCRIPT in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one, too
        return False


def wait_until(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_childs_tools_are_offered_and_called(child, opened):
    box = opened()
    assert {"kit__add", "kit__sleep", "now"} <= opened.names(box)
    result = opened.call(box, "kit__add", {"a": 2, "b": 3})
    assert (result.content, result.is_error) == ("5", False)
    assert (row(child).status, row(child).last_error) == ("ready", "")


def test_only_the_pages_an_agent_names_are_offered(child, opened):
    assert opened.names(opened(["kit__add"])) == {"kit__add"}


def test_arguments_are_checked_before_the_server_is_asked(child, opened):
    result = opened.call(opened(), "kit__add", {"a": "two"})
    assert result.is_error
    assert "'b' is a required property" in result.content


def test_a_tools_own_failure_is_a_result(child, opened):
    result = opened.call(opened(), "kit__fail", {})
    assert result.is_error
    assert "that cannot be done" in result.content


def test_an_answer_is_capped(child, opened):
    result = opened.call(opened(), "kit__flood", {})
    assert len(result.content) < 20_100
    assert "[cut: " in result.content


def test_a_description_is_capped(child, opened, at_home):
    specs = {spec.name: spec for spec in at_home(opened().specs())}
    assert len(specs["kit__large"].description) == 4096


def test_a_slow_tool_is_left_after_its_time(aurora, child, opened):
    services.set_tool(aurora.ada, "kit__sleep", enabled=True, timeout=0.3)
    box = opened()
    result = opened.call(box, "kit__sleep", {"seconds": 30})
    assert result.is_error
    assert "0.3 seconds" in result.content
    assert opened.call(box, "kit__add", {"a": 1, "b": 1}).content == "2"


def test_the_child_sees_only_its_own_environment(operator, opened, monkeypatch):
    monkeypatch.setenv("POLYMUX_SECRET_CANARY", "sing")
    services.add_mcp_server(
        operator, name="kit", transport="stdio", command=STDIO, env={"GIVEN": "yes"}
    )
    shown = opened.call(opened(), "kit__environment", {}).content
    assert "GIVEN=yes" in shown
    assert "sing" not in shown
    assert "DATABASE_URL" not in shown
    assert f"HOME={os.environ.get('HOME')}\n" not in shown


def test_a_server_killed_in_a_call_is_reported_and_comes_back(child, opened):
    box = opened()
    result = opened.call(box, "kit__die", {})
    assert result.is_error
    assert "broke off the connection" in result.content
    assert row(child).status == "failed"
    assert opened.call(opened(), "kit__add", {"a": 1, "b": 1}).content == "2"
    assert row(child).status == "ready"


def test_a_server_killed_between_calls_is_started_again(child, opened):
    box = opened()
    for process in children():
        process.kill()
    assert wait_until(lambda: not any(c.usable for c in mcp._pool.values()))
    assert opened.call(box, "kit__add", {"a": 1, "b": 1}).content == "2"


def test_a_dead_server_is_a_missing_tool_and_not_a_failed_run(operator, opened, at_home):
    dead = services.add_mcp_server(
        operator, name="dead", transport="stdio", command=["/nonexistent/program"]
    )
    box = opened()
    assert "now" in opened.names(box)
    assert "could not be reached" in box.missing["dead"]
    assert row(dead).status == "failed"
    started = time.monotonic()
    assert opened().missing.keys() == {"dead"}
    assert time.monotonic() - started < 1


def test_a_silent_server_is_given_up(operator, opened, monkeypatch):
    monkeypatch.setattr(mcp, "CONNECT_TIMEOUT", 0.5)
    services.add_mcp_server(operator, name="mute", transport="stdio", command=["sleep", "60"])
    assert "did not answer within" in opened().missing["mute"]


def test_everything_a_server_started_ends_with_it(child, opened, at_home):
    pid = int(opened.call(opened(), "kit__child", {}).content)
    assert psutil.pid_exists(pid)
    at_home(mcp.close_all())
    assert wait_until(lambda: not children())
    assert wait_until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    )
    assert mcp._pool == {}


def test_an_idle_connection_is_closed(child, opened, monkeypatch):
    monkeypatch.setattr(mcp, "IDLE", 0.2)
    opened()
    assert wait_until(lambda: not mcp._pool)
    assert wait_until(lambda: not children())


def test_connections_are_shared(child, opened):
    box, other = opened(), opened()
    opened.call(box, "kit__add", {"a": 1, "b": 1})
    opened.call(other, "kit__add", {"a": 1, "b": 1})
    assert len(children()) == 1


def test_the_toolbox_works_from_any_loop(child, context, at_home):
    async def work():
        box = await WorkspaceToolBox.open(context, ["kit__*"])
        return await box.call(ToolCall("c1", "kit__add", {"a": 1, "b": 2}), key="k")

    assert asyncio.run(work()).content == "3"


def test_a_changed_definition_is_not_offered_until_it_is_accepted(operator, opened):
    kit = services.add_mcp_server(operator, name="kit", transport="stdio", command=STDIO)
    assert "kit__add" in opened.names(opened())
    services.update_mcp_server(operator, kit.id, env={"MCP_FLAVOUR": "sour"})
    names = opened.names(opened())
    assert "kit__add" not in names
    assert "kit__sleep" in names
    assert row(kit).status == "changed"
    assert "add" in row(kit).last_error
    services.update_mcp_server(operator, kit.id, env={})
    assert "kit__add" not in opened.names(opened())
    services.accept_mcp_tools(operator, kit.id)
    assert "kit__add" in opened.names(opened())


def test_a_server_switched_off_is_not_started(operator, child, opened):
    services.update_mcp_server(operator, child.id, enabled=False)
    assert not any(name.startswith("kit") for name in opened.names(opened()))
    assert not children()


def test_a_web_server_is_called(aurora, opened, http_url, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    services.add_mcp_server(
        aurora.ada, name="web", transport="http", url=http_url, headers={"X-Key": "k"}
    )
    box = opened()
    assert opened.call(box, "web__add", {"a": 20, "b": 22}).content == "42"


def test_a_web_server_inside_is_refused(aurora, opened, http_url):
    web = services.add_mcp_server(aurora.ada, name="web", transport="http", url=http_url)
    box = opened()
    assert "web" in box.missing
    assert not any(name.startswith("web__") for name in opened.names(box))
    assert row(web).status == "failed"


def test_a_web_server_killed_in_a_call_is_reported(aurora, opened, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    with web_server() as url:
        web = services.add_mcp_server(aurora.ada, name="web", transport="http", url=url)
        box = opened()
        result = opened.call(box, "web__die", {})
        assert result.is_error
        assert opened.call(box, "web__add", {"a": 1, "b": 1}).is_error
    assert row(web).status == "failed"
    assert "web" in opened().missing


def test_a_server_offers_at_most_64_tools(operator, opened):
    services.add_mcp_server(
        operator, name="kit", transport="stdio", command=STDIO, env={"MCP_MANY": "100"}
    )
    offered = [name for name in opened.names(opened()) if name.startswith("kit__")]
    assert len(offered) == 64


def test_an_absent_web_server_is_a_missing_tool(aurora, opened, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    services.add_mcp_server(aurora.ada, name="web", transport="http", url="http://127.0.0.1:9/mcp")
    assert "web" in opened().missing


def test_only_an_operator_adds_a_program(aurora):
    with pytest.raises(StdioForOperators):
        services.add_mcp_server(aurora.ada, name="kit", transport="stdio", command=STDIO)
    with pytest.raises(ScopeInsufficient):
        services.add_mcp_server(aurora.ben, name="w", transport="http", url="https://example.org")


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "Has Space"},
        {"name": "a__b"},
        {"url": "ftp://example.org"},
        {"url": "https://user:pass@example.org"},
        {"transport": "carrier-pigeon"},
        {"headers": {"Host": "x"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"env": {"A": "b"}},
    ],
)
def test_odd_servers_are_refused(aurora, bad):
    good = {"name": "web", "transport": "http", "url": "https://example.org/mcp"}
    with pytest.raises(InvalidInput):
        services.add_mcp_server(aurora.ada, **{**good, **bad})


def test_headers_are_sealed_and_never_shown(aurora):
    web = services.add_mcp_server(
        aurora.ada, name="web", transport="http", url="https://e.org", headers={"K": "hunter2"}
    )
    assert b"hunter2" not in bytes(row(web).sealed)
    from apps.accounts.models import AuditEntry
    from apps.formations.means import opened_secrets

    assert opened_secrets(row(web)) == {"K": "hunter2"}
    entry = AuditEntry.objects.get(action="mcp_server.added")
    assert "hunter2" not in str(entry.after)


def test_a_name_is_taken_once(aurora):
    good = {"name": "web", "transport": "http", "url": "https://example.org/mcp"}
    services.add_mcp_server(aurora.ada, **good)
    with pytest.raises(McpServerNameTaken):
        services.add_mcp_server(aurora.ada, **good)


def test_a_stranger_finds_nothing(aurora, borealis, child):
    for touch in (
        lambda: selectors.get_mcp_server(borealis.mallory, child.id),
        lambda: services.update_mcp_server(borealis.mallory, child.id, enabled=False),
        lambda: services.remove_mcp_server(borealis.mallory, child.id),
        lambda: services.accept_mcp_tools(borealis.mallory, child.id),
    ):
        with pytest.raises(NotFound):
            touch()
    assert not selectors.list_mcp_servers(borealis.mallory).exists()
    services.remove_mcp_server(aurora.ada, child.id)
    assert not selectors.list_mcp_servers(aurora.ada).exists()
