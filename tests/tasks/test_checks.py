"""Checks a machine makes: commands, files and numbers, within bounds (contract/polpo.md §6.1)."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from apps.tasks.assessing import checks
from apps.tasks.assessing.checks import is_estimated, look_for, measure, missing, run_test


def run(root, command, kind="test"):
    return asyncio.run(run_test(root, {"type": kind, "command": command}))


def number(root, command, threshold=1):
    return asyncio.run(measure(root, {"name": "n", "command": command, "threshold": threshold}))


def test_a_command_that_ends_with_zero_passes(tmp_path):
    (tmp_path / "poem.txt").write_text("roses")
    assert run(tmp_path, "cat poem.txt") == {
        "type": "test",
        "passed": True,
        "message": "Exit code 0.",
    }


def test_a_script_stops_at_its_first_failure(tmp_path):
    made = run(tmp_path, "echo one\nfalse\ntouch never", "script")
    assert (made["passed"], made["details"]) == (False, "one")
    assert not (tmp_path / "never").exists()


def test_a_command_that_takes_too_long_is_stopped(tmp_path, settings):
    settings.CHECK_SECONDS = 1
    began = time.monotonic()
    made = run(tmp_path, "sleep 60")
    assert made["message"] == "It was stopped: it took longer than 1 seconds."
    assert time.monotonic() - began < 4


def test_a_command_that_prints_a_gigabyte_is_stopped(tmp_path):
    made = run(tmp_path, "head -c 1000000000 /dev/zero | tr '\\0' x")
    assert made["message"] == "It was stopped: it printed more than 5 MB."
    assert len(made["details"]) <= checks.LONGEST_DETAILS


def test_commands_that_are_switched_off_fail_in_words(tmp_path, settings):
    settings.COMMANDS = "off"
    assert "POLYMUX_COMMANDS" in run(tmp_path, "true")["message"]
    assert number(tmp_path, "echo 1")["passed"] is False


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("41", 41.0),
        ("total:\n9.5\n", 9.5),
        ("-1e3", -1000.0),
        ("", None),
        ("nan", None),
        ("7 %", None),
    ],
)
def test_a_metric_is_the_number_that_is_printed_last(tmp_path, printed, value):
    (tmp_path / "out").write_text(printed)
    made = number(tmp_path, "cat out", threshold=9)
    assert (made["value"], made["passed"]) == (value, value is not None and value >= 9)


def test_the_number_of_a_failing_command_does_not_count(tmp_path):
    assert number(tmp_path, "echo 5; exit 1")["passed"] is False


def test_files_and_folders_exist_but_links_and_ways_out_do_not(tmp_path):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_text("x")
    (root / "secret").write_text("x")
    (root / "secret").chmod(0)
    (tmp_path / "outside").write_text("x")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "way").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    paths = ["file", "folder", "secret", "link", "way/outside", "../outside", "/etc/passwd", "none"]
    assert missing(root, [*paths, "pipe"]) == [*paths[3:], "pipe"]
    made = asyncio.run(look_for(root, {"paths": ["file", "none"]}))
    assert (made["passed"], made["message"]) == (False, "Missing: none")


def test_only_paths_are_estimated_when_nothing_is_said():
    assert is_estimated({"type": "file_exists"})
    assert not is_estimated({"type": "file_exists", "confidence": "firm"})
    assert not is_estimated({"type": "test"})
    assert is_estimated({"type": "llm_review", "confidence": "estimated"})
