"""Our own launcher: one folder, one server, whatever happened before."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

from polymux.embedded import pg_user
from polymux.embedded.postgres import PostgresFailed, PostgresServer, socket_folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to hand over to")


def ask(server, question, database="postgres"):
    with psycopg.connect(server.url(database), autocommit=True) as link:
        cursor = link.execute(question)
        return cursor.fetchone()[0] if cursor.description else None


def refuses(server):
    try:
        psycopg.connect(server.url("postgres")).close()
    except psycopg.OperationalError:
        return True
    return False


def test_it_starts_in_a_folder_with_blanks_and_stops(postgres):
    server = postgres()
    server.start()
    assert ask(server, "SHOW server_version").startswith("18.")
    assert ask(server, "SHOW listen_addresses") == ""
    server.stop()
    assert refuses(server)


def test_it_says_what_it_does_while_it_takes_its_time(postgres):
    said = []
    postgres().start(said.append)
    assert said == ["creating the database files (once)", "starting PostgreSQL"]


def test_nobody_else_can_enter_the_folder_of_the_socket(postgres):
    server = postgres()
    server.start()
    mode = stat.S_IMODE(server.sockets.stat().st_mode)
    assert mode == 0o700


def test_a_database_is_made_once(postgres):
    server = postgres()
    server.start()
    assert server.ensure_database("polymux") is True
    assert server.ensure_database("polymux") is False
    assert ask(
        server,
        "SELECT datcollate || datlocprovider::text FROM pg_database WHERE datname = 'polymux'",
    )


def test_vectors_are_at_hand(postgres):
    server = postgres()
    server.start()
    ask(server, "CREATE EXTENSION vector")
    assert ask(server, "SELECT '[1,2]'::vector <-> '[1,4]'::vector") == 2


def test_the_last_user_ends_the_server(postgres):
    first, second = postgres(), postgres()
    first.start()
    pid = first._running_pid()
    second.start()
    assert second._running_pid() == pid
    first.stop()
    assert ask(second, "SELECT 1") == 1
    second.stop()
    assert refuses(second)


def test_a_server_that_outlived_its_starter_is_adopted_and_then_ended(postgres):
    server = postgres()
    program = f"""
        import os
        from pathlib import Path
        from polymux.embedded.postgres import PostgresServer
        PostgresServer(Path({str(server.root)!r}), fsync=False).start()
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    pid = server._running_pid()
    assert pid is not None
    server.start()
    assert server._running_pid() == pid
    server.stop()
    assert refuses(server)


def test_what_was_committed_survives_kill_9(postgres):
    server = postgres()
    server.start()
    ask(server, "CREATE TABLE kept (n int)")
    ask(server, "INSERT INTO kept VALUES (7)")
    os.kill(server._running_pid(), signal.SIGKILL)
    again = postgres()
    again.start()
    assert ask(again, "SELECT n FROM kept") == 7


def test_a_lock_file_that_names_a_stranger_does_not_stop_it(postgres):
    server = postgres()
    server.start()
    os.kill(server._running_pid(), signal.SIGKILL)
    server._child.wait()
    lock = server._data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    again = postgres()
    again.start()
    assert again._running_pid() not in (None, os.getpid())


def test_two_copies_on_one_machine_do_not_meet(folder):
    copies = [PostgresServer(folder / name, fsync=False) for name in ("one", "two")]
    try:
        for copy in copies:
            copy.start()
        folders = [ask(copy, "SHOW data_directory") for copy in copies]
        assert folders[0] != folders[1]
        copies[0].stop()
        assert ask(copies[1], "SELECT 1") == 1
    finally:
        for copy in copies:
            copy.stop()


def test_a_path_too_long_for_a_socket_gets_a_private_short_one(folder):
    deep = folder.joinpath(*["a-long-name-for-a-folder"] * 5)
    server = PostgresServer(deep, fsync=False)
    try:
        server.start()
        assert server.sockets == socket_folder(deep) != deep / "run"
        assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
        assert ask(server, "SELECT 1") == 1
    finally:
        server.stop()
        server.sockets.rmdir()


def test_data_of_another_major_version_is_refused_in_one_line(postgres):
    server = postgres()
    server._data.mkdir(parents=True)
    (server._data / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresFailed, match="made by PostgreSQL 15, this is 18"):
        server.start()


@as_root
def test_root_runs_it_without_roots_powers(postgres):
    """In a namespace of its own, or as another user: never as uid 0."""
    server = postgres()
    server.start()
    shown = Path(f"/proc/{server._running_pid()}/status").read_text()
    caps = next(line for line in shown.splitlines() if line.startswith("CapEff"))
    assert int(caps.split()[1], 16) == 0


@as_root
@pytest.mark.parametrize("hidden", [False, True], ids=["reachable", "below a closed folder"])
def test_without_namespaces_root_hands_over_to_nobody(folder, monkeypatch, tmp_path, hidden):
    outside = Path("/var/tmp") / f"polymux-test-{os.getpid()}-{hidden}"
    monkeypatch.setattr(pg_user, "OUTSIDE", outside)
    monkeypatch.setattr(
        pg_user, "_in_namespace", lambda b, r: pg_user.Runner(b, r, prefix=("/bin/false",))
    )
    folder.parent.chmod(0o700 if hidden else 0o755)
    folder.chmod(0o755)
    server = PostgresServer(folder / "pg", fsync=False)
    try:
        server.start()
        assert Path(f"/proc/{server._running_pid()}").stat().st_uid == pg_user.NOBODY
        assert ask(server, "SELECT 1") == 1
        assert (server.root / "data").is_symlink() is hidden
    finally:
        server.stop()
        subprocess.run(["rm", "-rf", str(outside)], check=False)
