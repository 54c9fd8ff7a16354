"""`manage.py formations new` and `validate`: no database, and every error where an editor can jump."""

from __future__ import annotations

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper

from apps.formations.bundles import pack, read
from apps.formations.management.formations.progress import progress


@pytest.fixture
def run():
    """`run("validate", path)` -> (stdout, stderr, the CommandError or None)."""

    def command(*words):
        out, err, failed = io.StringIO(), io.StringIO(), None
        try:
            call_command("formations", *map(str, words), stdout=out, stderr=err)
        except CommandError as error:
            failed = error
        return out.getvalue(), err.getvalue(), failed

    return command


@pytest.fixture
def made(run, tmp_path):
    assert run("new", "help-desk", "--in", tmp_path)[2] is None
    return tmp_path / "help-desk"


def test_what_new_makes_is_whole(made, run):
    bundle = read(made)
    assert (bundle.id, bundle.warnings) == ("help-desk", ())
    assert [agent["id"] for agent in bundle.document["agents"]] == ["assistant"]
    assert ".key" in (made / ".gitignore").read_text().split()
    said, _, failed = run("validate", made)
    assert failed is None
    assert "agents: assistant" in said


@pytest.mark.parametrize("words", ['a "quoted" name: # x', "- [", "Größe 日本", "yes"])
def test_new_writes_down_what_was_said(run, tmp_path, words):
    options = ("--title", words, f"--description={words}", "--model", "ollama/llama3.2")
    assert run("new", "help-desk", "--in", tmp_path, *options)[2] is None
    bundle = read(tmp_path / "help-desk")
    assert (bundle.name, bundle.description) == (words, words)
    assert bundle.document["config"]["llm"] == {"models": [{"text": "ollama/llama3.2"}]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("new", "API"), "3 to 50 small letters"),
        (("new", "api"), "reserved"),
        (("new", "fine", "--model", "gpt"), "model: Write provider/model."),
        (("new", "fine", "--title", "a\nb"), "title: Must not contain control characters."),
        (("new", "taken"), "There is a .*taken already."),
    ],
)
def test_new_makes_nothing_of_what_it_refuses(run, tmp_path, words, problem):
    (tmp_path / "taken").mkdir()
    failed = run(*words, "--in", tmp_path)[2]
    assert re.search(problem, str(failed))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.fixture
def spoiled(made):
    (made / "formation.afs").write_text(
        'schema: "1.0.0"\nid: help-desk\ndescription: d\nagents: [assistant, nobody]\n'
    )
    (made / "agents/assistant.afs").write_text("a: [\n")
    return made


def test_validate_names_every_problem_with_file_and_line(spoiled, run):
    said, complaints, failed = run("validate", spoiled)
    lines = [line for line in complaints.splitlines() if line]
    assert said == ""
    assert [line.partition(": ")[0] for line in lines] == [
        f"{spoiled}/formation.afs:4",
        f"{spoiled}/agents/assistant.afs:2",
    ]
    assert str(failed) == f"{spoiled}: {len(lines)} problems."
    assert failed.returncode == 1


def test_validate_tells_machines_the_same(spoiled, run):
    said, _, failed = run("validate", spoiled, "--json")
    problems = json.loads(said)
    assert {problem["line"] for problem in problems} >= {2, 4}
    assert set(problems[0]) == {"type_name", "text", "file", "line"}
    assert failed is not None


def test_a_likely_mistake_is_told_and_is_no_error(made, run):
    with (made / "formation.afs").open("a") as file:
        file.write("memroy: {}\n")
    said, complaints, failed = run("validate", made)
    assert failed is None
    assert "is `memory` meant? (a warning)" in complaints
    assert "warnings: 1" in said


def test_an_archive_is_checked_as_a_folder_is(made, run, tmp_path):
    archive = tmp_path / "help-desk.tar.gz"
    archive.write_bytes(pack(made))
    said, complaints, failed = run("validate", archive)
    assert (failed, complaints) == (None, "Unpacking: done\n")
    assert "id: help-desk" in said
    archive.write_bytes(archive.read_bytes()[:-20])
    assert "cut off" in run("validate", archive)[1]


def test_what_is_not_there_is_said_in_a_line(run, tmp_path):
    failed = run("validate", tmp_path / "none")[2]
    assert "none cannot be read: No such file or directory." in str(failed)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_alone():
    screen, file = Terminal(), io.StringIO()
    for out in (screen, file):
        with progress(OutputWrapper(out), "Packing") as told:
            told(1, 4)
            told(4, 4)
    assert screen.getvalue().startswith("\rPacking [#######")
    assert screen.getvalue().endswith("100 %\n")
    assert file.getvalue() == "Packing: done\n"


def test_after_an_error_the_next_words_have_a_line_of_their_own():
    screen = Terminal()

    def pack_badly():
        with progress(OutputWrapper(screen), "Packing") as told:
            told(1, 2)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        pack_badly()
    assert screen.getvalue() == f"\rPacking [{'#' * 15}{'.' * 15}]  50 %\n"
