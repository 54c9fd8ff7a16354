"""What the repository says about itself, to people and to machines."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib

import pytest

from tests.house.source import ROOT, modules

TEXTS = [
    "*.py",
    "*.md",
    "*.toml",
    "*.yml",
    "*.yaml",
    "*.html",
    "*.js",
    "*.css",
    "*.cfg",
    "*.ini",
    "Makefile",
    "Dockerfile",
    ".ci/run",
    ".importlinter",
]
# Where this was built is nobody's business; names of registries belong to the lock file alone.
FOREIGN = re.compile(r"(?<![\w/])/work/(main|shared|\.library)|files\.pythonhosted\.org|/tmp/pgdev")


def tracked_texts() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--", *TEXTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_no_file_names_the_place_where_it_was_written():
    this = "tests/house/test_records.py"
    guilty = [
        name
        for name in tracked_texts()
        if name != this
        and FOREIGN.search((ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert not guilty


def test_nothing_is_left_to_do_in_the_code():
    marks = re.compile(r"#\s*(TODO|FIXME|XXX|HACK)\b")
    assert not [m.name for m in modules() if marks.search(m.text)]


def readme_blocks(language: str) -> list[str]:
    """Fenced blocks of the READMEs in `language` that are meant to run as they stand."""
    pages = [ROOT / "README.md", ROOT / "apps" / "README.md"]
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for page in pages if page.exists() for block in fence.findall(page.read_text())]


def parse_shell(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, timeout=10, check=True)
    assert shlex.split(block, comments=True)


PARSERS = {"python": ast.parse, "json": json.loads, "toml": tomllib.loads}
PARSERS |= {"(?:sh|bash)": parse_shell}


@pytest.mark.parametrize("language", PARSERS)
def test_what_the_readme_tells_to_run_parses(language):
    for block in readme_blocks(language):
        PARSERS[language](block)


def test_the_readme_tells_how_to_run():
    """Control: the reader of fences finds the commands that are surely there."""
    assert any("make run" in block for block in readme_blocks("(?:sh|bash)"))


def test_every_decision_is_numbered_once_and_in_order():
    page = (ROOT / "apps" / "README.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^### (\d{4}) ", page, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_every_app_is_on_the_map():
    page = (ROOT / "apps" / "README.md").read_text(encoding="utf-8")
    missing = {module.app for module in modules() if module.app} - set(re.findall(r"`(\w+)`", page))
    assert not missing


def test_every_house_exception_gives_a_reason():
    bare = [m.name for m in modules() for line in m.lines if re.search(r"# house:\s*$", line)]
    assert not bare
