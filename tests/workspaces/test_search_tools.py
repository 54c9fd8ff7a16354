"""Finding files: by name and by content, in bounded time."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from apps.core.actor import Actor
from apps.core.tools import ToolContext, ToolFailed, find
from apps.workspaces import grep
from apps.workspaces.files import files_root
from apps.workspaces.names import Pattern
from apps.workspaces.tools import search


@pytest.fixture
def hands(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    return ToolContext(Actor.for_engine(uuid4()), uuid4(), None, None, "k")


@pytest.fixture
def folder(hands):
    root = files_root(hands.actor.workspace_id)
    (root / "src" / "deep" / "er").mkdir(parents=True)
    (root / ".git").mkdir()
    texts = {
        "top.py": "def top():\n    return 1\n",
        "src/mod.py": "import top\n\n# Grüße\n",
        "src/deep/er/low.py": "def low(): pass\n",
        "src/notes.md": "def in prose\n",
        ".git/config": "def of git\n",
    }
    for path, text in texts.items():
        (root / path).write_text(text)
    (root / "raw").write_bytes(b"def \x00")
    return root


def use(hands, name, **arguments):
    return asyncio.run(find(name).call(hands, arguments))


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("*.py", ["a.py"], ["src/a.py", "a.pyc"]),
        ("**/*.py", ["a.py", "src/a.py", "a/b/c.py"], ["a.md"]),
        ("src/**", ["src/a", "src/a/b"], ["a", "other/src/a"]),
        ("src/**/t_?.py", ["src/t_1.py", "src/a/b/t_x.py"], ["t_1.py", "src/t_12.py"]),
        ("**/a/**/b", ["a/b", "x/a/y/z/b", "a/a/b"], ["a", "b", "b/a"]),
        ("./a/[xy]", ["a/x"], ["a/z"]),
        ("**", ["a", "a/b"], []),
    ],
)
def test_a_pattern_fits_paths_as_in_a_shell(pattern, fits, not_):
    wanted = Pattern(pattern)
    assert [path for path in (*fits, *not_) if wanted.fits(path)] == fits


def test_no_pattern_takes_for_ever():
    began = time.monotonic()
    assert not Pattern("/".join(["**", "a"] * 100)).fits("/".join(["a"] * 60))
    assert not Pattern("*a" * 60 + "b").fits("a" * 250)
    assert time.monotonic() - began < 1


def test_files_are_found_by_their_path(hands, folder):
    assert use(hands, "glob", pattern="**/*.py") == {
        "paths": ["src/deep/er/low.py", "src/mod.py", "top.py"],
        "more": False,
    }
    assert use(hands, "glob", pattern="*.py", path="src")["paths"] == ["src/mod.py"]


def test_what_is_found_is_bounded(hands, folder, monkeypatch):
    monkeypatch.setattr(search, "MAX_FOUND", 2)
    found = use(hands, "glob", pattern="**/*")
    assert (len(found["paths"]), found["more"]) == (2, True)


def test_lines_are_found_by_their_text(hands, folder):
    assert use(hands, "grep_files", pattern=r"^def \w+\(") == {
        "matches": [
            {"path": "src/deep/er/low.py", "line": 1, "text": "def low(): pass"},
            {"path": "top.py", "line": 1, "text": "def top():"},
        ],
        "more": False,
    }
    only = use(hands, "grep_files", pattern="def", include="*.md")["matches"]
    assert [match["path"] for match in only] == ["src/notes.md"]
    assert use(hands, "grep_files", pattern="Grüße", path="src")["matches"][0]["line"] == 3
    below = use(hands, "grep_files", pattern="def", path="src", include="deep/**")["matches"]
    assert [match["path"] for match in below] == ["src/deep/er/low.py"]


def test_matches_are_bounded(hands, folder):
    (folder / "long.txt").write_text("x" * 1000 + "\n" + "x\n" * 1000)
    found = use(hands, "grep_files", pattern="x", include="long.txt")
    assert (len(found["matches"]), found["more"]) == (grep.MOST, True)
    assert len(found["matches"][0]["text"]) == grep.LONGEST_LINE


def test_a_pattern_that_never_ends_is_ended(hands, folder, monkeypatch):
    monkeypatch.setattr(search, "GREP_SECONDS", 1.0)
    (folder / "a_first.txt").write_text("aab\n")
    (folder / "z_last.txt").write_text("a" * 60 + "!\n")

    async def grep_and_count():
        """The loop goes on turning while the pattern burns."""
        turns = 0
        task = asyncio.ensure_future(
            find("grep_files").call(hands, {"pattern": "(a+)+b", "include": "*.txt"})
        )
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        return await task, turns

    began = time.monotonic()
    found, turns = asyncio.run(grep_and_count())
    assert time.monotonic() - began < 5
    assert [match["path"] for match in found["matches"]] == ["a_first.txt"]
    assert ("1 seconds" in found["stopped"], turns > 20) == (True, True)


@pytest.mark.parametrize("pattern", ["(", "a{9999999999}", "", "a\0b", "\ud800", "x" * 2000, 5])
def test_what_is_no_pattern_is_refused_in_words(hands, folder, pattern):
    with pytest.raises(ToolFailed):
        use(hands, "grep_files", pattern=pattern)


@pytest.mark.parametrize("tool", ["glob", "grep_files"])
def test_nothing_outside_is_found(hands, folder, tmp_path, tool):
    (tmp_path / "secret.txt").write_text("def secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path)
    found = use(hands, tool, pattern={"glob": "**", "grep_files": "def"}[tool])
    assert "link" not in str(found)
    for path in ("..", "/etc", "linked", "missing", "top.py"):
        with pytest.raises(ToolFailed):
            use(hands, tool, pattern="x", path=path)
