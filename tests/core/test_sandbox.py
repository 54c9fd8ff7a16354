"""Commands of agents: what they can do, what they cannot reach, what they cannot take.

All of it twice where root runs the tests: root's way into the sandbox is not a normal user's.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.core.conftest import gone

MIB = 1024 * 1024


# --- What a command can do --------------------------------------------------------------------


def test_a_command_works_in_its_folder(run, house):
    result = run("pwd; echo hello > made; cat made; echo oops >&2; exit 3")
    assert (result.stdout, result.stderr) == ("/workspace\nhello\n", "oops\n")
    assert (result.exit_code, result.passed, result.killed_for) == (3, False, "")
    assert (house / "files" / "made").read_text() == "hello\n"


def test_a_command_works_on_what_was_there_and_in_a_folder_below(run, house):
    (house / "files" / "below").mkdir()
    (house / "files" / "below" / "old").write_text("old")
    for path in (house / "files").rglob("*"):
        os.chown(path, house.stat().st_uid, -1)
    assert run("echo new >> old; cat old", cwd="below").stdout == "oldnew\n"


def test_arguments_are_not_read_by_a_shell(run):
    assert run(["echo", "$HOME; exit 1", "a  b"]).stdout == "$HOME; exit 1 a  b\n"


def test_a_command_has_a_name_a_home_and_a_place_for_its_files(run):
    result = run(
        'whoami; cd && pwd && touch here && echo "$GIVEN" && [ -w /dev/null ]', env={"GIVEN": "x"}
    )
    assert (result.exit_code, result.stdout) == (0, "agent\n/tmp\nx\n")


def test_pipes_and_many_processes_work(run):
    assert run("seq 1000 | sort -n | tail -1; for i in 1 2 3; do (sleep 0.01) & done; wait").passed


# --- What it cannot reach ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/workspace/../secret",
        "{top}/secret",
        "{top}",
        "/etc/shadow",
        "/etc/hostname",
        "/root",
        "/home",
        "/var",
        "/run",
        "/sys",
        "/proc/1/root/etc/shadow",
        "/proc/1/cwd/../secret",
    ],
)
def test_nothing_outside_is_there(run, house, path):
    result = run(["cat" if "." in path else "ls", path.format(top=house)])
    assert result.exit_code != 0
    assert "neighbour" not in result.stdout


def test_a_link_out_of_the_folder_leads_nowhere(run, house):
    (house / "files" / "link").symlink_to(house / "secret")
    (house / "files" / "folder").symlink_to(house)
    for path in ("link", "folder/secret"):
        assert run(["cat", path]).exit_code != 0


def test_etc_is_not_this_machines(run):
    shown = run("cat /etc/passwd; ls /etc").stdout.split()
    assert shown[0].startswith("agent:x:")
    assert set(shown[1:]) <= {"alternatives", "group", "ld.so.cache", "localtime", "passwd"}


def test_only_its_own_processes_are_there(run):
    seen = [int(name) for name in run("ls /proc").stdout.split() if name.isdigit()]
    assert 0 < len(seen) < 6
    assert run(f"kill -9 {os.getpid()}").exit_code != 0
    assert run("kill -9 -1; kill -9 1; echo alive; kill -0 1 2>/dev/null").stdout == "alive\n"


def test_no_secret_of_ours_is_in_its_environment(run, monkeypatch):
    monkeypatch.setenv("POLYMUX_SECRET_KEY", "a great secret")
    result = run("env; tr '\\0' '\\n' < /proc/1/environ; tr '\\0' '\\n' < /proc/self/environ")
    names = {line.split("=")[0] for line in result.stdout.splitlines()}
    own = {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "USER", "SHELL", "PWD", "SHLVL", "_", "OLDPWD"}
    assert names <= own
    assert "secret" not in result.stdout


def test_a_listener_of_this_machine_is_out_of_reach(run):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached")
        assert (result.stdout, result.exit_code) == ("", 1)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
        # Control: with the network it is reached, so what failed above was the sandbox's doing.
        assert run(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached", network=True).passed


def test_it_inherits_no_descriptor_of_ours(run, house):
    with (house / "secret").open() as secret:
        os.set_inheritable(secret.fileno(), True)
        shown = run("ls -l /proc/self/fd /proc/1/fd 2>/dev/null").stdout
    assert "secret" not in shown
    assert "memfd" not in shown
    # The fourth is the folder that `ls` looks at.
    assert run(["ls", "/proc/self/fd"]).stdout.split() == ["0", "1", "2", "3"]


def test_it_has_no_power_and_gains_none(run):
    status = run("cat /proc/self/status").stdout
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {lines[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
    assert "0" not in lines["Uid"].split()
    assert run("cp /usr/bin/id mine && chmod u+s mine && ./mine -u").stdout.strip() != "0"


def test_odd_names_and_vanishing_files_disturb_nobody(run):
    assert run("touch $'\\xff' $'a\\nb' 'a\\b'; mkdir -p x/y; mkfifo pipe; ln -s /etc link").passed
    assert run("rm -r ./*; ls -A | wc -l").stdout == "0\n"


@pytest.mark.parametrize(
    "command",
    [
        "unshare -U true",
        "unshare -n true",
        "mount -t tmpfs none /tmp",
        "umount /etc/passwd",
        "chroot / true",
        "mknod device b 8 0",
        "echo x > /etc/passwd",
        "echo x > /usr/bin/evil",
        "echo x > /dev/evil",
        "echo x > /evil",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "echo x > /proc/sysrq-trigger",
    ],
)
def test_the_walls_hold(run, command):
    assert run(command).exit_code != 0


# --- What it cannot take ----------------------------------------------------------------------


def test_time_ends_it_with_all_that_it_started(run):
    number = f"31{os.getpid()}"
    result = run(f"sleep {number} & (setsid sleep {number} &) ; sleep {number}", seconds=1)
    assert (result.timed_out, result.killed_for, result.exit_code) == (True, "time", 137)
    assert result.seconds < 2.5
    assert gone(number)


def test_what_it_leaves_in_the_background_ends_with_it(run):
    number = f"32{os.getpid()}"
    result = run(f"nohup setsid sleep {number} >/dev/null 2>&1 & sleep 0.1; echo done")
    assert (result.stdout, result.seconds < 5) == ("done\n", True)
    assert gone(number)


def test_a_flood_of_output_is_cut_and_ended(run):
    before = resident()
    result = run("head -c 1000000000 /dev/zero | tr '\\0' x", output=10_000)
    assert (len(result.stdout), result.truncated, result.killed_for) == (10_000, True, "output")
    assert resident() - before < 20 * MIB
    assert run("yes >&2", output=100).killed_for == "output"


def test_output_up_to_the_bound_is_whole(run):
    result = run("head -c 5000 /dev/zero | tr '\\0' x", output=5000)
    assert (len(result.stdout), result.truncated, result.passed) == (5000, False, True)


def test_a_fork_bomb_hurts_itself_only(run):
    result = run("bomb() { bomb | bomb & }; bomb; sleep 60", seconds=2, processes=20)
    assert result.killed_for == "time"
    assert "Resource temporarily unavailable" in result.stderr
    assert run("for i in $(seq 20); do sleep 0.1 & done; wait").passed, "others work at once"


def test_processes_are_counted_each_command_for_itself(run):
    spawn = "for i in $(seq 12); do sleep 0.2 & done; wait; echo all"
    assert run(spawn, processes=20).stdout == "all\n"
    assert run(["sh", "-c", spawn], processes=8).exit_code == 2


def test_a_file_has_its_bound(run, house):
    result = run("head -c 5000000 /dev/zero > big", file_size=MIB)
    assert (result.killed_for, result.exit_code) == ("file_size", 153)
    assert (house / "files" / "big").stat().st_size == MIB


def test_a_full_folder_ends_it_and_can_be_emptied(run, house):
    fill = "for i in $(seq 400); do head -c 1M /dev/zero > big$i; sleep 0.02; done"
    result = run(fill, disk=20 * MIB)
    assert (result.killed_for, result.exit_code) == ("disk", 137)
    assert run("echo more > more; sleep 1", disk=MIB).killed_for == "disk", "no growth"
    assert run("rm big*; sleep 0.5; ls | wc -l", disk=MIB).passed


def test_names_are_counted_too(run):
    flood = "i=0; while true; do i=$((i+1)); : > f$i; done"
    assert run(flood, names=200).killed_for == "disk"


def test_what_was_written_too_quickly_to_see_is_seen_at_the_end(run):
    result = run("head -c 3000000 /dev/zero > big", disk=MIB)
    assert (result.killed_for, result.passed) == ("disk", False)


def test_a_file_without_a_name_takes_the_disk_no_less(run, house):
    endless = "while true; do exec 3> it; rm it; head -c 1M /dev/zero >&3; done"
    assert run(endless, file_size=2 * MIB, disk=2 * MIB).killed_for == "disk"


def test_a_folder_closed_to_us_is_no_place_to_hide_in(run, house):
    for mode in ("0", "600"):
        result = run(f"mkdir a; head -c 3M /dev/zero > a/big; chmod {mode} a; sleep 1", disk=MIB)
        (house / "files" / "a").chmod(0o700)
        assert result.killed_for == "disk"
        assert run("rm -r a", disk=MIB).passed


def test_memory_of_one_process_and_of_all_together_has_its_bound(run):
    one = run("tail /dev/zero", memory=100 * MIB)
    assert one.exit_code != 0
    eat = "(head -c 60M /dev/zero | tail -c 60M | sleep 5) &"
    assert run(f"{eat} {eat} {eat} {eat} wait", memory=100 * MIB).killed_for == "memory"


def test_what_looks_like_a_disk_and_is_memory_is_small(run):
    for place in ("/tmp", "/dev/shm"):
        result = run(f"head -c 60M /dev/zero > {place}/x", memory=40 * MIB)
        assert "No space left" in result.stderr


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
