"""Our own launcher for PostgreSQL, from the programs that a wheel brings along.

TLDR: `server = PostgresServer(root); server.start(); server.url(); server.stop()`. The server listens
on a unix socket in a private folder and nowhere else. It outlives us when we are killed; the next
start adopts it. Several processes may use one `root`: the last one that stops ends the server.
Locks are per `root`: two copies of Polymux on one machine do not meet.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from polymux.embedded.locks import FileLock
from polymux.embedded.pg_user import PostgresFailed, Runner, choose_runner
from polymux.embedded.sockets import SOCKET, socket_folder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PostgresFailed", "PostgresServer", "socket_folder"]

USER = "polymux"
MAJOR = "18"
NO_PROCESS = "999999999"  # above any system's highest process number
CHILDREN_LIVE = "shared memory block"  # what PostgreSQL says about a killed server's children
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
LONGEST_LOG = 8 * 1024 * 1024
START_SECONDS = 60.0  # crash recovery replays at most `max_wal_size`
STOP_SECONDS = 30.0

# Small when idle, safe after a power cut. Everything else is PostgreSQL's default.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",
    "effective_cache_size": "256MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

# Servers this process has started: they may outlive the object, and each other's users.
_started: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_live() -> None:
    """A server still in use when we end lives on: do not have `subprocess` complain of it."""
    for child in _started.values():
        if child.poll() is None:
            child.returncode = 0


class PostgresServer:
    """One PostgreSQL server below `root`: `data/`, `run/` (the socket), `log`, and two lock files."""

    def __init__(self, root: Path, *, fsync: bool = True, connections: int = 100) -> None:
        self.root = root.absolute()
        self.fsync, self.connections = fsync, connections
        self.sockets = socket_folder(self.root)
        self._data = self.root / "data"
        self._log = self.root / "log"
        self._starting = FileLock(self.root / "starting.lock")
        self._users = FileLock(self.root / "users.lock")
        self._runner: Runner | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "polymux") -> str:
        """`postgresql://polymux@/database?host=/folder`, percent-encoded."""
        host = quote(str(self.sockets), safe="/")
        return f"postgresql://{USER}@/{quote(database, safe='')}?host={host}"

    def start(self, progress: Callable[[str], None] | None = None) -> None:
        """Make the data folder if there is none, then start the server or adopt the running one.

        Returns when it accepts connections. `progress` hears one line before each long step.
        """
        say = progress or (lambda _line: None)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._starting.held(START_SECONDS * 2):
            self._users.share()
            try:
                self._bring_up(say)
            except BaseException:
                self._users.release()
                raise

    def stop(self) -> None:
        """Stop using the server; end it if nobody else uses it. Does nothing when not started."""
        if not self.root.is_dir():
            return
        with self._starting.held(STOP_SECONDS * 2):
            alone = self._users.take_alone()
            try:
                if alone and (pid := self._running_pid()) is not None:
                    self._end(pid)
            finally:
                self._users.release()

    def abandon(self) -> None:
        """Tell the server to end and do not wait: for those who leave in a hurry. Never raises."""
        try:
            if self._users.take_alone() and (pid := self._running_pid()) is not None:
                os.kill(pid, signal.SIGINT)
        except (OSError, PostgresFailed):
            pass

    def ensure_database(self, name: str = "polymux") -> bool:
        """Create database `name` unless it is there. True when it was made now."""
        import psycopg  # late: `url` and `socket_folder` are read by settings
        from psycopg import sql

        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10) as link:
            known = link.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if known:
                return False
            try:
                link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except psycopg.errors.DuplicateDatabase:  # another process of this copy was first
                return False
        return True

    # --- start ------------------------------------------------------------------------------

    def _launch(self, say: Callable[[str], None]) -> None:
        runner = self._runner = choose_runner(self.root)
        self._prepare_sockets(runner)
        self._check_version()
        if not (self._data / "PG_VERSION").exists():
            say("creating the database files (once)")
            self._initialise(runner)
        self._clear_stale_locks()
        self._rotate_log()
        say("starting PostgreSQL")
        self._spawn()

    def _prepare_sockets(self, runner: Runner) -> None:
        """A folder that only its owner can enter: it is what stands in for passwords."""
        folder = self.sockets
        folder.resolve().mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat() if folder.parent == self.root else folder.lstat()
        owners = {os.geteuid(), runner.uid}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise PostgresFailed(f"{folder} belongs to somebody else: remove it and start again")
        folder.chmod(0o700)
        runner.give(folder)

    def _check_version(self) -> None:
        try:
            version = (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except PermissionError:
            raise PostgresFailed(f"{self._data} belongs to another user") from None
        if version != MAJOR:
            raise PostgresFailed(f"{self._data} was made by PostgreSQL {version}, this is {MAJOR}")

    def _initialise(self, runner: Runner) -> None:
        """Build the data folder beside its place and move it there when it is whole."""
        target = self._data.resolve()
        building = runner.home.resolve() / "data.new"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        runner.give(building)
        command = [*runner.argv("initdb"), "-D", str(building), "-U", USER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
        if not self.fsync:
            command.append("--no-sync")
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, **runner.options
        )
        if done.returncode:
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise PostgresFailed(f"the database files could not be created: {last}")
        building.rename(target)

    def _clear_stale_locks(self) -> None:
        """After kill -9 or a power cut the lock files may name a process that is now another one.

        PostgreSQL refuses to start while any process has that number. We hold `starting.lock` and
        have looked at the process itself, so we know better. `postmaster.pid` must stay, though: it
        also names the shared memory by which PostgreSQL sees that a killed server's children live.
        """
        (self.sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
        lines = self._pid_lines()
        if lines:
            text = "\n".join([NO_PROCESS, *lines[1:7], ""])  # without "ready"
            with (self._data / "postmaster.pid").open("r+") as file:  # keeps its owner
                file.truncate(0)
                file.write(text)

    def _rotate_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LONGEST_LOG:
            self._log.replace(self._log.with_name("log.old"))

    def _spawn(self) -> None:
        """Start the server in a session of its own: a Ctrl-C at our terminal is not meant for it."""
        runner = self._runner or choose_runner(self.root)
        folder = str(self.sockets.resolve()).replace('"', '""')
        settings = SETTINGS | {"unix_socket_directories": f'"{folder}"'}
        settings["max_connections"] = str(self.connections)
        if not self.fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        command = [*runner.argv("postgres"), "-D", str(self._data.resolve())]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        with self._log.open("ab") as log:
            self._log.chmod(0o600)
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
                **runner.options,
            )
        _started[self._child.pid] = self._child

    def _bring_up(self, say: Callable[[str], None]) -> None:
        """Until it answers: adopt what runs, start what does not, wait for what is coming up."""
        self._child = None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._running_pid() is not None:
                if self._answers():
                    return
            else:
                self._push_start(say)
            time.sleep(0.02)
        raise PostgresFailed(f"PostgreSQL was not ready after {START_SECONDS:.0f} s ({self._log})")

    def _push_start(self, say: Callable[[str], None]) -> None:
        if self._child is None:
            self._launch(say)
        elif self._child.poll() is not None:
            self._start_again_or_give_up()

    def _start_again_or_give_up(self) -> None:
        words = self._last_words()
        if CHILDREN_LIVE not in words:
            raise PostgresFailed(f"PostgreSQL did not start: {words}")
        time.sleep(0.5)  # they notice soon, at the latest when their statement ends
        self._spawn()

    def _answers(self) -> bool:
        """Whether it says it is ready and then truly speaks: a server just killed may do the first.

        Asked is the protocol's question for encryption, which needs no login.
        """
        lines = self._pid_lines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.sockets / SOCKET))
                probe.sendall(SSL_REQUEST)
                return probe.recv(1) in {b"N", b"S"}
            except OSError:
                return False

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return f"{(fatal or lines or ['no reason given'])[-1].strip()} ({self._log})"

    # --- the running server -----------------------------------------------------------------

    def _pid_lines(self) -> list[str]:
        """`postmaster.pid`: number, data folder, start, port, socket folder, host, memory, state."""
        try:
            return (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except PermissionError:
            raise PostgresFailed(f"{self._data} belongs to another user") from None

    def _running_pid(self) -> int | None:
        """The server's process, or None. A number that now belongs to something else is None."""
        lines = self._pid_lines()
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        return pid if _is_postgres(pid, self._data.resolve()) else None

    def _end(self, pid: int) -> None:
        """Fast shutdown: open transactions roll back, the data is written. Then, only, force."""
        for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0)):
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not _is_postgres(pid, self._data.resolve()):
                    _reap(pid)
                    return
                time.sleep(0.02)
        raise PostgresFailed(f"PostgreSQL (process {pid}) did not stop")


def _reap(pid: int) -> None:
    child = _started.pop(pid, None)
    if child is not None:
        child.wait(STOP_SECONDS)


def _is_postgres(pid: int, data: Path) -> bool:
    """Whether process `pid` lives and is the server of `data`."""
    if Path("/proc/self").exists():
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(data) in arguments
    shown = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, check=False
    )
    return os.fsencode(data) in shown.stdout
