"""The tool `run_command`: what the model is told, and that a workspace must want it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from apps.core.actor import Actor, CallerKind, Scope
from apps.core.confinement import can_confine
from apps.core.errors import ScopeInsufficient
from apps.core.tools import ToolContext, ToolFailed, find
from apps.workspaces import files
from tests.core.conftest import need_sandbox


@pytest.fixture
def hands(settings, tmp_path):
    need_sandbox(can_confine())
    settings.DATA_DIR = tmp_path / "data"
    return ToolContext(Actor.for_engine(uuid4()), uuid4(), None, None, "k")


def use(hands, name="run_command", **arguments):
    return asyncio.run(find(name).call(hands, arguments))


def test_commands_and_files_meet_in_one_folder(hands):
    use(hands, "write_file", path="in/words.txt", content="b\na\n")
    done = use(hands, command="sort words.txt | tee sorted.txt; ls nowhere", cwd="in")
    assert (done["exit_code"], done["stdout"], "nowhere" in done["stderr"]) == (2, "a\nb\n", True)
    assert use(hands, "read_file", path="in/sorted.txt")["content"] == "a\nb\n"
    use(hands, "write_file", path="in/sorted.txt", content="changed")
    assert use(hands, command="cat in/sorted.txt; echo >> in/sorted.txt")["stdout"] == "changed"


def test_one_workspace_cannot_read_another(hands):
    use(hands, "write_file", path="mine", content="x")
    other = ToolContext(Actor.for_engine(uuid4()), uuid4(), None, None, "k")
    seen = use(other, command=f"ls -R / 2>/dev/null | grep -c {hands.actor.workspace_id}; ls")
    assert seen["stdout"] == "0\n"


def test_the_model_is_told_why_it_was_stopped(hands, monkeypatch):
    assert "1 seconds" in use(hands, command="sleep 60", timeout=1)["stopped"]
    monkeypatch.setattr(files, "MAX_STORED", 1_000_000)
    assert "room" in use(hands, command="head -c 3M /dev/zero > big")["stopped"]
    assert "stopped" not in use(hands, command="rm big")


def test_long_output_is_shown_by_its_ends(hands):
    shown = use(hands, command="echo first; seq 100000; echo last")["stdout"]
    assert shown.startswith("first\n1\n2\n")
    assert shown.endswith("100000\nlast\n")
    assert "characters left out" in shown
    assert len(shown) < 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": ""},
        {"command": "   "},
        {"command": 5},
        {"command": "a\0b"},
        {"command": "true", "cwd": "../.."},
        {"command": "true", "cwd": "missing"},
        {"command": "true", "timeout": 0},
        {"command": "true", "timeout": 1.5},
        {"command": "true", "timeout": 100_000},
        {"command": "x" * 200_000},
    ],
    ids=lambda arguments: str(arguments)[:40],
)
def test_what_cannot_be_run_is_refused_in_words(hands, arguments):
    with pytest.raises(ToolFailed):
        use(hands, **arguments)


def test_a_reader_runs_nothing(hands):
    reader = ToolContext(
        Actor(hands.actor.workspace_id, Scope.READ, CallerKind.ENGINE), uuid4(), None, None, "k"
    )
    with pytest.raises(ScopeInsufficient):
        use(reader, command="true")


def test_switched_off_it_says_so(hands, settings):
    settings.COMMANDS = "off"
    with pytest.raises(ToolFailed, match="switched off"):
        use(hands, command="true")


def test_nobody_has_it_without_asking():
    assert find("run_command").enabled_by_default is False
    others = ("edit_file", "glob", "grep_files", "read_file")
    assert all(find(name).enabled_by_default for name in others)
