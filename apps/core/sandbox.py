"""Commands of agents: shut in, bounded in everything they can take, and gone when their time is over.

What `confinement` cannot bound from the start is watched while the command runs: memory of all its
processes together, the folder it writes into, and what it prints. Whoever goes beyond is killed, with
all that it started: the end of the first process of a pid namespace ends every other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakKeyDictionary

from django.conf import settings

from apps.core import confinement, processes
from apps.core.confinement import Bounds, Confined
from apps.core.errors import DomainError, InvalidInput, Kind
from apps.core.folders import Use, measure
from apps.core.paths import open_folder_inside, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

MEBIBYTE = 1024 * 1024
LONGEST = 100_000  # bytes of a command: the kernel takes 128 KiB in one argument
MOST_AT_ONCE = 16  # commands of one process; further ones wait
TICK = 0.1  # seconds between two looks at a command's memory
LOOKS_PER_COUNT = 3  # of which each third is at its folder, too
REWRITES = 4  # times the folder's limit that may be written, deleted files included
GRACE = 2.0  # seconds for the kernel to end what was killed
MARK = "POLYMUX_COMMAND"


class CommandsRefused(DomainError):
    """Commands are switched off, or cannot be shut in on this machine."""

    kind = Kind.FORBIDDEN
    code = "commands_refused"
    message = "Commands are switched off here (POLYMUX_COMMANDS=off)."


class CommandNotStarted(DomainError):
    """The sandbox itself failed; the command did not run."""

    kind = Kind.UNAVAILABLE
    code = "command_not_started"
    message = "The command could not be started."


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `exit_code`: 128 + the signal when one ended it.

    `killed_for`: "", or what it took too much of: `time`, `output`, `memory`, `disk` (bytes or names;
    also when that is only seen after its end), `file_size`. `timed_out` is `killed_for == "time"`. `truncated`: output was cut. `seconds` it took.
    """

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    killed_for: str
    seconds: float
    truncated: bool

    @property
    def passed(self) -> bool:
        return self.exit_code == 0 and not self.killed_for


def refusal() -> str:
    """Why no command runs here and how to allow it; "" when commands run. May take a moment, once."""
    if settings.COMMANDS == "off":
        return CommandsRefused.message
    if settings.COMMANDS == "unconfined":
        return ""
    reason = confinement.can_confine()
    return reason and (
        f"Commands cannot be shut in on this machine: {reason}. Install the Debian package bubblewrap "
        "and allow user namespaces (in a container: seccomp=unconfined, apparmor=unconfined and "
        "systempaths=unconfined), or set POLYMUX_COMMANDS=unconfined to run them with all the rights "
        "of this server."
    )


def as_script(text: str) -> list[str]:
    """The arguments that run `text` with bash; more than one line as a script that stops at the first
    failure, at an unset name and in a pipe (contract/polpo.md §6.1, `script`).
    """
    strict = ["-euo", "pipefail"] if "\n" in text.strip() else []
    return ["bash", *strict, "-c", text]


async def run_command(
    root: Path,
    command: str | Sequence[str],
    *,
    seconds: float,
    memory: int = 512 * MEBIBYTE,
    processes: int = 64,
    output: int = 256 * 1024,
    file_size: int = 64 * MEBIBYTE,
    disk: int = 256 * MEBIBYTE,
    names: int = 10_000,
    env: Mapping[str, str] | None = None,
    network: bool = False,
    cwd: str = "",
) -> CommandResult:
    """Run `command` (a line for bash, or arguments) in the folder `root`, seen there as /workspace.

    Bounds: `seconds` of time, bytes of `memory` and number of `processes` of all it starts together,
    bytes of each stream of `output` and of each file, bytes (`disk`) and `names` in the folder. A
    folder that is fuller from the start may not grow. A failing command is a result, not an error.

    Raises `CommandsRefused`, `CommandNotStarted`, InvalidInput; NotFound and `PathRefused` for `cwd`.
    When cancelled it leaves no process behind.
    """
    argv = ["bash", "-c", command] if isinstance(command, str) else list(command)
    _check(argv, env or {})
    reason = await asyncio.to_thread(refusal)
    if reason:
        raise CommandsRefused(reason)
    folder = "/".join(parts_of(cwd))
    cores = os.cpu_count() or 1
    bounds = Bounds(memory, processes, file_size, math.ceil(seconds) * cores + 1)
    async with _turn():
        before = await asyncio.to_thread(_prepared, root, folder)
        room = Use(max(names, before.names), max(disk, before.size), whole=before.whole)
        run = _Run(root, argv, bounds, output, room)
        return await run.finished(seconds, env=env or {}, cwd=folder, network=network)


def _check(argv: Sequence[str], env: Mapping[str, str]) -> None:
    words = [*argv, *env, *env.values()]
    if not argv or not argv[0] or any("\0" in word for word in words):
        raise InvalidInput("The command is empty or holds NUL characters.")
    if sum(len(os.fsencode(word)) for word in argv) > LONGEST:
        raise InvalidInput(f"The command is longer than {LONGEST} bytes: write it to a file.")
    if any("=" in name or not name for name in env):
        raise InvalidInput("A name in the environment is empty or holds an equals sign.")


def _prepared(root: Path, cwd: str) -> Use:
    os.close(open_folder_inside(root, cwd))
    way, _ = (None, "") if settings.COMMANDS == "unconfined" else confinement.found_way()
    if way is not None:
        way.prepare(root)
    return measure(root)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _turn() -> asyncio.Semaphore:
    """Commands of one loop stand in line."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MOST_AT_ONCE))


class _Heard(asyncio.SubprocessProtocol):
    """What a process prints, up to a bound, and when it ends. `verdict`: why it is over."""

    def __init__(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        self.verdict: asyncio.Future[str] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.most, self.truncated = most, False
        self.kept = {1: bytearray(), 2: bytearray()}

    def decide(self, why: str) -> None:
        if not self.verdict.done():
            self.verdict.set_result(why)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.kept[fd]
        room = self.most - len(kept)
        kept += data[:room]
        if len(data) > room:
            self.truncated = True
            self.decide("output")

    def process_exited(self) -> None:
        self.decide("")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def text(self, fd: int) -> str:
        return self.kept[fd].decode("utf-8", "replace")


class _Run:
    """One command from start to end."""

    def __init__(
        self, root: Path, command: list[str], bounds: Bounds, output: int, room: Use
    ) -> None:
        self.root, self.command, self.bounds = root, command, bounds
        self.output, self.room = output, room
        self.first = 0  # pid of the first process inside
        reports, self.report = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A file and not its number: the watcher's thread may outlast us, and numbers are used again.
        self.reports = os.fdopen(reports, "rb", buffering=0)
        self.said = b""
        self.confined = settings.COMMANDS != "unconfined"
        self.mark = f"{MARK}={uuid4().hex}"

    async def finished(
        self, seconds: float, *, env: Mapping[str, str], cwd: str, network: bool
    ) -> CommandResult:
        with self.reports:
            began = time.monotonic()
            transport, heard = await self._started(env, cwd, network=network)
            watcher = asyncio.ensure_future(self._watch(transport.get_pid(), heard))
            try:
                await asyncio.wait({heard.verdict}, timeout=seconds)
                heard.decide("time")
            finally:
                watcher.cancel()
                self._kill(transport)
                # Shielded: who cancels a second time must not keep us from seeing them go.
                await asyncio.shield(self._ended(transport, heard))
            took = time.monotonic() - began
            full = await asyncio.to_thread(self._is_full)
            return self._result(transport, heard, took, full=full)

    async def _started(
        self, env: Mapping[str, str], cwd: str, *, network: bool
    ) -> tuple[asyncio.SubprocessTransport, _Heard]:
        """Start the process. Cancelled while it is starting, wait for it and kill it."""
        made = Confined([], ())
        try:
            made = self._line(env, cwd, network=network)
            starting = asyncio.ensure_future(self._spawned(made, env, cwd))
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                transport, heard = await starting
                self._kill(transport)
                await self._ended(transport, heard)
            raise
        except OSError as error:
            raise CommandNotStarted(f"The command did not start: {error.strerror}.") from None
        finally:
            made.close()
            os.close(self.report)

    def _line(self, env: Mapping[str, str], cwd: str, *, network: bool) -> Confined:
        way = confinement.found_way()[0] if self.confined else None
        if way is None:
            return Confined([*confinement.limiting(self.bounds), *self.command], ())
        return confinement.confine(
            way,
            self.root,
            self.command,
            self.bounds,
            env=env,
            cwd=cwd,
            network=network,
            report=self.report,
        )

    async def _spawned(
        self, made: Confined, env: Mapping[str, str], cwd: str
    ) -> tuple[asyncio.SubprocessTransport, _Heard]:
        """In a group of its own. bubblewrap gets no environment: /proc/1/environ shows it inside."""
        given: dict[str, str] = {}
        if not self.confined:
            home = {"HOME": str(self.root), "TMPDIR": "/tmp"}  # noqa: S108
            mark = dict([self.mark.split("=")])
            given = confinement.ENVIRONMENT | home | dict(env) | mark
        return await asyncio.get_running_loop().subprocess_exec(
            lambda: _Heard(self.output),
            *made.argv,
            stdin=asyncio.subprocess.DEVNULL,
            env=given,
            cwd=self.root if self.confined else self.root / cwd,
            pass_fds=(*made.inherited, self.report) if self.confined else (),
            start_new_session=True,
        )

    def _kill(self, transport: asyncio.SubprocessTransport) -> None:
        """The group of bubblewrap; the kernel ends what is inside (`--die-with-parent`)."""
        if self.confined and transport.get_returncode() is not None:
            return  # reaped: the number may be another's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)

    async def _ended(self, transport: asyncio.SubprocessTransport, heard: _Heard) -> None:
        if not self.confined:  # what left the group still carries the mark
            await asyncio.to_thread(processes.kill_marked, self.mark)
        await asyncio.wait({heard.closed}, timeout=GRACE)
        transport.close()

    def _result(
        self, transport: asyncio.SubprocessTransport, heard: _Heard, seconds: float, *, full: bool
    ) -> CommandResult:
        code = transport.get_returncode()
        code = -signal.SIGKILL if code is None else code
        why = heard.verdict.result()
        self._read_reports()
        if self.confined and not why and code > 0 and b"exit-code" not in self.said:
            log.error("bubblewrap failed: %s", heard.text(2)[-300:])
            raise CommandNotStarted
        if code == 128 + signal.SIGXFSZ and not why:
            why = "file_size"
        if full and not why:  # it was quicker than we look
            why = "disk"
        return CommandResult(
            exit_code=128 - code if code < 0 else code,
            stdout=heard.text(1),
            stderr=heard.text(2),
            timed_out=why == "time",
            killed_for=why,
            seconds=seconds,
            truncated=heard.truncated,
        )

    # --- Watching -----------------------------------------------------------------------------

    async def _watch(self, pid: int, heard: _Heard) -> None:
        """Look at what the command takes; who looks slowly looks less often."""
        looks, pause = 0, TICK
        try:
            while True:
                await asyncio.sleep(pause)
                began = time.monotonic()
                count = looks % LOOKS_PER_COUNT == 0
                why = await asyncio.to_thread(self._excess, pid, count_files=count)
                if why:
                    heard.decide(why)
                    return
                looks, pause = looks + 1, max(TICK, 4 * (time.monotonic() - began))
        except Exception:
            log.exception("a command could not be watched")
            heard.decide("memory")  # unwatched it may not go on

    def _excess(self, pid: int, *, count_files: bool) -> str:
        """What the command takes too much of; "" while it does not."""
        family = processes.family_of(self._first_inside() or pid)
        if processes.memory_of(family, self.bounds.memory) > self.bounds.memory:
            return "memory"
        if processes.written_by(family) > REWRITES * max(self.room.size, self.bounds.file_size):
            return "disk"
        return "disk" if count_files and self._is_full() else ""

    def _is_full(self) -> bool:
        use = measure(self.root, most=self.room.names + 1)
        too_much = use.names > self.room.names or use.size > self.room.size
        return too_much or (self.room.whole and not use.whole)

    def _first_inside(self) -> int:
        if not self.first:
            self._read_reports()
            with contextlib.suppress(ValueError, KeyError):
                self.first = int(json.loads(self.said.split(b"\n")[0])["child-pid"])
        return self.first

    def _read_reports(self) -> None:
        with contextlib.suppress(ValueError):  # closed: the command is over
            while text := self.reports.read(4096):
                self.said += text
