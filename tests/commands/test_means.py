"""`manage.py tool`, `mcp` and `models`: what agents may use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError

from apps.accounts.models import AuditEntry
from apps.formations.means import opened_secrets
from apps.formations.models import McpServer, ToolSetting

HERE = ("--workspace", "aurora")
SCRIPT = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
DOCS = ("--name", "docs", "--url", "https://mcp.example.org/mcp")


def setting(tool):
    return ToolSetting.unscoped.get(tool=tool)


def tool_row(ask, name, workspace="aurora"):
    rows = ask("tool", "list", "--workspace", workspace)
    return next((row for row in rows if row["tool"] == name), None)


def test_every_registered_tool_is_listed_before_anybody_set_one(ask, aurora):
    row = tool_row(ask, "now")
    assert (row["on"], row["asks"], row["set"]) == (True, False, False)


def test_a_disabled_tool_is_listed_as_off(manage, ask, aurora, newest):
    manage("tool", "disable", *HERE, "now")
    assert tool_row(ask, "now")["on"] is False
    assert newest("tool.set").after["enabled"] is False
    manage("tool", "enable", *HERE, "now")
    assert tool_row(ask, "now")["on"] is True


def test_asking_keeps_the_switch_and_the_time_limit(manage, ask, aurora):
    manage("tool", "disable", *HERE, "now", "--timeout", "5")
    manage("tool", "ask", *HERE, "now")
    now = setting("now")
    assert (now.enabled, now.needs_approval, now.timeout) == (False, True, 5)
    assert tool_row(ask, "now")["asks"] is True


def test_asking_can_be_taken_back(manage, aurora):
    manage("tool", "ask", *HERE, "now", "--never")
    assert setting("now").needs_approval is False
    manage("tool", "ask", *HERE, "now", "--default", "--timeout", "none")
    assert (setting("now").needs_approval, setting("now").timeout) == (None, None)


def test_a_pattern_of_a_server_can_be_set(manage, ask, aurora):
    manage("tool", "ask", *HERE, "github__*")
    assert tool_row(ask, "github__*")["asks"] is True


def test_a_setting_stays_in_its_workspace(manage, ask, aurora, borealis):
    manage("tool", "disable", *HERE, "now")
    assert tool_row(ask, "now", "borealis")["on"] is True


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nwo",), "There is no tool 'nwo'"),
        (("now", "--timeout", "soon"), "timeout: 'soon' is not a number"),
        (("now", "--timeout", "-1"), "timeout: Must be between 0 and 600"),
        (("rm -rf *",), "tool: Not a tool's name"),
    ],
)
def test_a_bad_setting_is_one_clear_line(manage, aurora, words, problem):
    with pytest.raises(CommandError, match=problem):
        manage("tool", "enable", *HERE, *words)
    assert not ToolSetting.unscoped.exists()


def test_a_web_server_is_added_with_sealed_headers(manage, ask, aurora, newest, tmp_path):
    file = tmp_path / "header"
    file.write_text("Bearer hunter2\n")
    said = manage("mcp", "add", *HERE, *DOCS, "--header", f"Authorization=@{file}")
    server = McpServer.unscoped.get(name="docs")
    assert opened_secrets(server) == {"Authorization": "Bearer hunter2"}
    entry = newest("mcp_server.added")
    for shown in (said, json.dumps(entry.after), manage("mcp", "list", *HERE)):
        assert "docs" in shown
        assert "hunter2" not in shown


def test_a_program_takes_all_words_that_follow(manage, aurora):
    manage(
        *("mcp", "add", *HERE, "--name", "files", "--env", "ROOT=/srv"),
        *("--command", "npx", "-y", "server", "--name", "x"),
    )
    server = McpServer.unscoped.get(name="files")
    assert server.command == ["npx", "-y", "server", "--name", "x"]
    assert opened_secrets(server) == {"ROOT": "/srv"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "either --url or --command"),
        (("--url", "https://x.example", "--command", "npx"), "either --url or --command"),
        (("--url", "ftp://x.example"), "url: Must be an http"),
        (("--url", "https://x.example", "--header", "Authorization"), "header: Write NAME=VALUE"),
        (("--url", "https://x.example", "--env", "A=b"), "env: This transport has none"),
        (("--url", "https://x.example", "--header", "Host=x"), "headers: 'Host' cannot be set"),
    ],
)
def test_a_bad_server_is_one_clear_line(manage, aurora, words, problem):
    with pytest.raises(CommandError, match=problem) as refused:
        manage("mcp", "add", *HERE, "--name", "bad", *words)
    assert "\n" not in str(refused.value)
    assert not McpServer.unscoped.exists()


def test_a_malformed_secret_is_not_repeated(manage, aurora):
    with pytest.raises(CommandError) as refused:
        manage("mcp", "add", *HERE, *DOCS, "--header", "hunter2")
    assert "hunter2" not in str(refused.value)


def test_a_server_is_removed(manage, aurora, newest):
    manage("mcp", "add", *HERE, *DOCS)
    manage("mcp", "remove", *HERE, "--name", "docs")
    assert not McpServer.unscoped.exists()
    assert newest("mcp_server.removed").before["name"] == "docs"


def test_changed_tools_are_accepted(manage, ask, aurora, newest):
    manage("mcp", "add", *HERE, *DOCS)
    tools = [{"name": "add", "changed": True}, {"name": "sum"}]
    McpServer.unscoped.update(tools=tools, status="changed")
    assert ask("mcp", "list", *HERE)[0]["changed"] == ["add"]
    assert ask("mcp", "accept", *HERE, "--name", "docs")["changed"] == []
    assert newest("mcp_server.tools_accepted").before == {"changed": ["add"]}


@pytest.mark.parametrize("verb", ["remove", "accept", "check"])
def test_another_workspaces_server_is_not_there(manage, aurora, borealis, verb):
    manage("mcp", "add", *HERE, *DOCS)
    with pytest.raises(CommandError, match="There is no MCP server 'docs' here"):
        manage("mcp", verb, "--workspace", "borealis", "--name", "docs")
    assert McpServer.unscoped.filter(name="docs", workspace_id=aurora.id).exists()


@pytest.mark.django_db(transaction=True)
def test_checking_prints_the_tools_of_a_server_that_answers(manage, ask, aurora):
    manage("mcp", "add", *HERE, "--name", "kit", "--command", sys.executable, SCRIPT, "stdio")
    names = {row["tool"] for row in ask("mcp", "check", *HERE, "--name", "kit")}
    assert {"kit__add", "kit__sleep"} <= names
    assert McpServer.unscoped.get(name="kit").status == "ready"
    assert tool_row(ask, "kit__add")["on"] is True


@pytest.mark.django_db(transaction=True)
def test_checking_a_server_that_is_not_there_fails_in_words(manage, aurora):
    manage("mcp", "add", *HERE, "--name", "kit", "--command", "/nowhere/at/all")
    with pytest.raises(CommandError, match="kit could not be reached") as failed:
        manage("mcp", "check", *HERE, "--name", "kit")
    assert failed.value.returncode == 1
    assert McpServer.unscoped.get(name="kit").status == "failed"


def test_a_server_that_is_off_is_not_contacted(manage, aurora):
    manage("mcp", "add", *HERE, *DOCS)
    McpServer.unscoped.update(enabled=False)
    with pytest.raises(CommandError, match="switched off"):
        manage("mcp", "check", *HERE, "--name", "docs")


def test_the_models_are_described(manage, settings):
    settings.DEFAULT_MODEL = "scripted/echo"
    text = manage("models")
    assert text.startswith("Model: scripted/echo (POLYMUX_MODEL names it)")
    found = json.loads(manage("models", "--json"))
    assert found["models"][0]["ref"] == "scripted/echo"
    assert not AuditEntry.objects.exists()
