"""Whether commands run at all here, how they begin and how they are given up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import uvloop

from apps.core import confinement, sandbox
from apps.core.errors import InvalidInput, NotFound
from apps.core.paths import PathRefused
from apps.core.sandbox import CommandNotStarted, CommandsRefused, as_script, run_command
from polymux import env
from tests.core.conftest import gone, need_sandbox, running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sandboxed():
    need_sandbox(confinement.can_confine())


@pytest.fixture
def fresh():
    """Look again what this machine can do; forget it afterwards."""

    def forget():
        confinement._found_way.cache_clear()
        confinement._program.cache_clear()

    forget()
    yield
    forget()


def run(root, command, **bounds):
    return asyncio.run(run_command(root, command, **{"seconds": 20, **bounds}))


# --- Whether ----------------------------------------------------------------------------------


def test_switched_off_they_are_refused(tmp_path, settings):
    settings.COMMANDS = "off"
    with pytest.raises(CommandsRefused, match="POLYMUX_COMMANDS=off"):
        run(tmp_path, "touch made")
    assert list(tmp_path.iterdir()) == []


def test_without_bubblewrap_they_are_refused_and_told_how_to_allow(
    tmp_path, settings, fresh, monkeypatch
):
    monkeypatch.setattr(confinement, "SEARCHED", str(tmp_path))
    assert "bwrap is not installed (package bubblewrap)" in confinement.can_confine()
    with pytest.raises(CommandsRefused, match="POLYMUX_COMMANDS=unconfined"):
        run(tmp_path, "touch made")
    assert list(tmp_path.iterdir()) == []


def test_where_the_kernel_refuses_they_are_refused(tmp_path, fresh, monkeypatch):
    bad = tmp_path / "bwrap"
    bad.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    bad.chmod(0o755)
    monkeypatch.setattr(confinement, "SEARCHED", f"{tmp_path}:{confinement.SEARCHED}")
    with pytest.raises(CommandsRefused, match="No permissions to create a new namespace"):
        run(tmp_path, "true")


def test_root_that_cannot_change_its_user_confines_nothing(fresh, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "cannot be counted" in confinement._why_not(confinement.Way(own_uid=False))


def test_the_setting_knows_three_words(monkeypatch):
    assert env.choice("POLYMUX_COMMANDS", "sandboxed", "off") == "sandboxed"
    monkeypatch.setenv("POLYMUX_COMMANDS", "Off")
    assert env.choice("POLYMUX_COMMANDS", "sandboxed", "off") == "off"
    monkeypatch.setenv("POLYMUX_COMMANDS", "sometimes")
    with pytest.raises(env.BadSetting, match="none of sandboxed, off"):
        env.choice("POLYMUX_COMMANDS", "sandboxed", "off")


# --- How they begin ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["", [], [""], "a\0b", ["echo", "\0"], "x" * 200_000], ids=lambda c: repr(c)[:12]
)
def test_what_is_no_command_is_refused(tmp_path, sandboxed, command):
    if command == "":
        assert run(tmp_path, command).passed, "an empty line does nothing"
        return
    with pytest.raises(InvalidInput):
        run(tmp_path, command)


@pytest.mark.parametrize("cwd", ["../x", "/etc", "missing", "link", "file"])
def test_a_wrong_folder_to_begin_in_is_refused(tmp_path, sandboxed, cwd):
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "file").write_text("x")
    with pytest.raises((NotFound, PathRefused)):
        run(tmp_path, "pwd", cwd=cwd)


def test_a_program_that_is_not_there_is_a_result(tmp_path, sandboxed):
    result = run(tmp_path, ["no-such-program"])
    assert (result.exit_code, "no-such-program" in result.stderr) == (127, True)


def test_an_installation_below_usr_is_hidden(tmp_path, sandboxed, settings):
    assert run(tmp_path, "ls -A /usr/share | wc -l").stdout != "0\n", "control"
    settings.DATA_DIR = Path("/usr/share")
    assert run(tmp_path, "ls -A /usr/share | wc -l").stdout == "0\n"
    assert not run(tmp_path, "touch /usr/share/x").passed


def test_a_sandbox_that_breaks_is_no_result_of_the_command(tmp_path, sandboxed, monkeypatch):
    monkeypatch.setattr(confinement, "INSIDE", "/proc/not/here")
    with pytest.raises(CommandNotStarted):
        run(tmp_path, "true")


def test_a_script_of_several_lines_stops_at_the_first_failure(tmp_path, sandboxed):
    assert run(tmp_path, as_script("false; echo on")).stdout == "on\n"
    for failing in ("false\necho on", "false | true\necho on", "echo $unset\necho on"):
        result = run(tmp_path, as_script(failing))
        assert (result.exit_code != 0, result.stdout) == (True, "")


# --- How they are given up --------------------------------------------------------------------


def open_files():
    return {place.name for place in Path("/proc/self/fd").iterdir()}


async def begun(root, number):
    task = asyncio.ensure_future(run_command(root, f"sleep {number} & sleep {number}", seconds=60))
    while len(running(number)) < 2:  # noqa: ASYNC110 - nobody here hears of their start
        await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_cancelled_it_leaves_nobody_behind(tmp_path, sandboxed, runner):
    number = f"41{os.getpid()}"

    async def cancel_it():
        task = await begun(tmp_path, number)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return gone(number, within=1.0)

    assert runner(cancel_it())


@pytest.mark.parametrize("after", [0, 0.001, 0.003, 0.01, 0.03])
def test_cancelled_while_it_begins_it_leaves_nobody_behind(tmp_path, sandboxed, after):
    number = f"42{os.getpid()}"

    async def cancel_it():
        task = asyncio.ensure_future(run_command(tmp_path, ["sleep", number], seconds=60))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = open_files()
    asyncio.run(cancel_it())
    assert gone(number)
    assert open_files() == before


def test_no_descriptor_is_left_open(tmp_path, sandboxed):
    run(tmp_path, "true")
    before = open_files()
    for _ in range(5):
        run(tmp_path, "true")
    assert open_files() == before


def test_a_server_that_is_killed_takes_its_commands_with_it(tmp_path, sandboxed):
    number = f"43{os.getpid()}"
    program = f"""
        import asyncio, sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        from django.conf import settings
        settings.configure(COMMANDS="sandboxed", DATA_DIR="/var/tmp", BASE_DIR="/var/tmp")
        from apps.core.sandbox import run_command
        asyncio.run(run_command(Path({str(tmp_path)!r}), "setsid sleep {number}", seconds=60))
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        while not running(number):
            assert server.poll() is None
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert gone(number)


def test_only_so_many_run_at_once(tmp_path, sandboxed, monkeypatch):
    monkeypatch.setattr(sandbox, "MOST_AT_ONCE", 2)
    lines = [f"touch in{i}; sleep 0.3; ls in* | wc -l; rm in{i}" for i in range(5)]

    async def run_them():
        tasks = [run_command(tmp_path, line, seconds=20) for line in lines]
        return await asyncio.gather(*tasks)

    most = max(int(result.stdout) for result in asyncio.run(run_them()))
    assert most == 2


# --- With all the rights of the server --------------------------------------------------------


@pytest.fixture
def unconfined(settings):
    settings.COMMANDS = "unconfined"


def test_unconfined_it_sees_this_machine_but_not_our_environment(tmp_path, unconfined, monkeypatch):
    monkeypatch.setenv("POLYMUX_SECRET_KEY", "a great secret")
    result = run(tmp_path, "pwd; id -u; env; exit 4")
    assert result.stdout.startswith(f"{tmp_path}\n{os.getuid()}\n")
    assert ("a great secret" in result.stdout, result.exit_code) == (False, 4)


def test_unconfined_nothing_stays_behind_either(tmp_path, unconfined):
    number = f"44{os.getpid()}"
    result = run(tmp_path, f"setsid sleep {number} & sleep 0.1; echo done")
    assert (result.stdout, result.seconds < 5, gone(number)) == ("done\n", True, True)
    assert run(tmp_path, f"(setsid sleep {number} &); sleep {number}", seconds=0.5).timed_out
    assert gone(number)


def test_unconfined_the_bounds_hold(tmp_path, unconfined):
    assert run(tmp_path, "yes", output=100).killed_for == "output"
    assert run(tmp_path, "head -c 5M /dev/zero > big", file_size=10_000).killed_for == "file_size"
    assert run(tmp_path, "head -c 3M /dev/zero > big; sleep 1", disk=10_000).killed_for == "disk"


def test_the_packages_named_are_those_of_the_programs(sandboxed):
    """Control for the words of a refusal: what is looked for is what is used."""
    used = {"bwrap", "prlimit", "setpriv", "bash"}
    assert set(confinement.PROGRAMS) == used
    assert all(shutil.which(name, path=confinement.SEARCHED) for name in used)
