"""`manage.py agent`: thin doors over the agents' services."""

from __future__ import annotations

import io
import sys

import pytest
from django.core.management import CommandError
from django.db import connection, transaction

from apps.accounts.models import AuditEntry, User
from apps.formations.models import Agent

HERE = ("--workspace", "aurora", "--name", "Scout")


@pytest.fixture
def scout(manage, aurora):
    manage("agent", "create", *HERE, "--prompt", "Look around.", "--tools", "now, web_*")
    return lambda: Agent.unscoped.get(name="Scout")


def test_an_agent_is_created_with_what_was_said(manage, aurora):
    manage(
        *("agent", "create", *HERE, "--model", "scripted/echo", "--fallback", "local/smollm2"),
        *("--temperature", "0.5", "--max-turns", "7", "--role", "Looks", "--tools", "now, web_*"),
    )
    agent = Agent.unscoped.get(name="Scout")
    assert (agent.workspace_id, agent.role) == (aurora.id, "Looks")
    assert (agent.model, agent.fallback_model) == ("scripted/echo", "local/smollm2")
    assert (agent.temperature, agent.max_turns, agent.tools) == (0.5, 7, ["now", "web_*"])


def test_the_audit_names_the_command(scout, newest):
    entry = newest("agent.created")
    assert entry.subject_id == str(scout().pk)
    assert (entry.actor_kind, entry.user_id) == ("operator", None)
    assert entry.request_id == "manage.py agent create"


def test_the_audit_names_the_operator_who_said_so(manage, aurora, newest):
    olga = User.objects.create_superuser("olga@example.org", "correct horse battery")
    manage("agent", "create", *HERE, "--as", "Olga@example.org")
    assert newest("agent.created").user_id == olga.pk


def test_nobody_but_an_operator_can_be_named(manage, aurora):
    with pytest.raises(CommandError, match="operator"):
        manage("agent", "create", *HERE, "--as", "ada@example.org")
    with pytest.raises(CommandError, match=r"There is no user x@example\.org"):
        manage("agent", "create", *HERE, "--as", "x@example.org")
    assert not Agent.unscoped.filter(name="Scout").exists()


def test_an_update_keeps_what_is_not_named(manage, scout, newest):
    manage("agent", "update", *HERE, "--max-turns", "3")
    assert (scout().max_turns, scout().system_prompt) == (3, "Look around.")
    assert newest("agent.updated").after["max_turns"] == 3


def test_an_agent_is_renamed_and_freed_of_its_bounds(manage, scout):
    manage("agent", "update", *HERE, "--temperature", "1")
    manage(
        *("agent", "update", *HERE, "--rename", "Ranger", "--tools", "all", "--default"),
        *("--temperature", "none"),
    )
    ranger = Agent.unscoped.get(name="Ranger")
    assert (ranger.tools, ranger.temperature, ranger.is_default) == (None, None, True)


def test_no_tools_is_not_all_tools(manage, scout):
    manage("agent", "update", *HERE, "--tools", "")
    assert scout().tools == []


def test_a_prompt_is_read_from_a_file(manage, aurora, tmp_path):
    file = tmp_path / "prompt.md"
    file.write_text("Look far.\nLook again.\n", encoding="utf-8")
    manage("agent", "create", *HERE, "--prompt", f"@{file}")
    assert Agent.unscoped.get(name="Scout").system_prompt == "Look far.\nLook again.\n"


def test_a_prompt_is_read_from_stdin(manage, scout, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Schau.")))
    manage("agent", "update", *HERE, "--prompt", "@-")
    assert scout().system_prompt == "Schau."


def test_the_list_shows_agents_as_a_table_and_as_json(manage, ask, scout):
    table = manage("agent", "list", "--workspace", "aurora")
    assert table.splitlines()[0].split()[:3] == ["name", "default", "model"]
    assert "Scout" in table
    rows = {row["name"]: row for row in ask("agent", "list", "--workspace", "aurora")}
    assert rows["Scout"]["prompt"] == "Look around."
    assert rows["Scout"]["tools"] == ["now", "web_*"]


def test_an_agent_is_deleted(manage, scout, newest):
    assert manage("agent", "delete", *HERE).strip() == "deleted: Scout"
    assert not Agent.unscoped.filter(name="Scout").exists()
    assert newest("agent.deleted").before["name"] == "Scout"


@pytest.mark.parametrize("verb", [("update", "--role", "x"), ("delete",)])
def test_another_workspaces_agent_is_not_there(manage, scout, borealis, verb):
    with pytest.raises(CommandError, match="There is no agent 'Scout' here"):
        manage("agent", verb[0], "--workspace", "borealis", "--name", "Scout", *verb[1:])
    assert scout().role == ""


def test_another_workspaces_agents_are_not_listed(ask, scout, borealis):
    names = {row["name"] for row in ask("agent", "list", "--workspace", "borealis")}
    assert "Scout" not in names


@pytest.mark.parametrize("slug", ["nowhere", "", "a\x00b", "*"])
def test_an_unknown_workspace_is_said(manage, aurora, slug):
    with pytest.raises(CommandError, match="There is no workspace"):
        manage("agent", "list", "--workspace", slug)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--max-turns", "many"), r"max_turns: 'many' is not a whole number"),
        (("--max-turns", "0"), r"max_turns: Must be between 1 and"),
        (("--temperature", "hot"), r"temperature: 'hot' is not a number"),
        (("--temperature", "nan"), r"temperature: Must be between 0 and 2"),
        (("--prompt", "@/nowhere/at/all"), r"prompt: /nowhere/at/all cannot be read: No such file"),
        (("--rename", "?"), r"name: 1 to 100"),
        ((), r"Say what to change"),
    ],
)
def test_bad_input_is_one_clear_line(manage, scout, words, problem):
    before = AuditEntry.objects.count()
    with pytest.raises(CommandError, match=problem) as refused:
        manage("agent", "update", *HERE, *words)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert AuditEntry.objects.count() == before


def test_a_taken_name_is_said(manage, scout):
    with pytest.raises(CommandError, match="exists already"):
        manage("agent", "create", *HERE)


def list_without_tables(manage):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO pg_catalog")  # undone with the savepoint
        manage("agent", "list", "--workspace", "aurora")


def test_an_empty_database_is_said(manage):
    with pytest.raises(CommandError, match="The database is empty"):
        list_without_tables(manage)


def test_a_verb_is_needed(manage, aurora):
    with pytest.raises(CommandError, match="VERB"):
        manage("agent")
