"""How a command is shut in: bubblewrap's arguments, and whose user the command runs as.

Two ways, the first that works here:

1. Root gives each folder a user number of its own and drops to it inside. A command of root's own
   number would be free of RLIMIT_NPROC, and root on every file that it reaches.
2. Anybody else gets a user namespace; their limits are counted inside it (Linux 5.14).

Inside there is /usr, read only, the folder at `/workspace`, a small /tmp in memory, nothing else of
this machine: no other process, no network, no environment, no device that matters.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core import seccomp
from apps.core.folders import walk_inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INSIDE = "/workspace"
HOME = "/tmp"  # noqa: S108  (a file system of the command's own)
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": SEARCHED,
    "HOME": HOME,
    "TMPDIR": HOME,
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "USER": "agent",
    "SHELL": "/bin/bash",
}
PROGRAMS = {"bwrap": "bubblewrap", "prlimit": "util-linux", "setpriv": "util-linux", "bash": "bash"}
FIRST_UID, MOST_UIDS = 1_900_000_000, 200_000_000  # what no distribution gives to anybody
NAMESPACE_UID = 1000
_WHOLE_MAP = ["0", "0", "4294967295"]
_PROBE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one command may take: bytes, processes, seconds of processor time."""

    memory: int
    processes: int
    file_size: int
    processor: int


@dataclass(frozen=True, slots=True)
class Way:
    """One of the two ways. `own_uid`: the first."""

    own_uid: bool

    def uid(self, root: Path) -> int:
        if not self.own_uid:
            return NAMESPACE_UID
        digest = hashlib.sha256(os.fsencode(root.resolve())).digest()
        return FIRST_UID + int.from_bytes(digest[:8]) % MOST_UIDS

    def prepare(self, root: Path) -> None:
        """Give the folder and all in it to the user the command will be."""
        if not self.own_uid:
            return
        uid = self.uid(root)
        os.chown(root, uid, uid)
        for entry in walk_inside(root):
            if entry.status.st_uid == uid:
                continue
            with contextlib.suppress(FileNotFoundError):  # another command removed it meanwhile
                os.chown(entry.name, uid, uid, dir_fd=entry.parent, follow_symlinks=False)

    def namespaces(self) -> list[str]:
        kinds = ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
        if self.own_uid:
            return kinds
        number = str(NAMESPACE_UID)
        return [*kinds, "--unshare-user", "--uid", number, "--gid", number]

    def dropping(self, root: Path) -> list[str]:
        """The command in front of the command that gives up what root has."""
        if not self.own_uid:
            return []
        uid = str(self.uid(root))
        return [
            _program("setpriv"),
            *("--reuid", uid, "--regid", uid, "--clear-groups"),
            *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
        ]


WAYS = (Way(own_uid=True), Way(own_uid=False))


@dataclass(frozen=True, slots=True)
class Confined:
    """A command line, and the descriptors it must inherit; the caller closes them."""

    argv: list[str]
    inherited: tuple[int, ...]

    def close(self) -> None:
        for handle in self.inherited:
            os.close(handle)


def confine(
    way: Way,
    root: Path,
    command: Sequence[str],
    bounds: Bounds,
    *,
    env: Mapping[str, str],
    cwd: str,
    network: bool,
    report: int,
) -> Confined:
    """`command` inside bubblewrap, which tells of itself on the descriptor `report` (not closed here).

    What the arguments say (paths, values of the environment) is handed over in memory: every user of
    this machine can read a command line.
    """
    uid = way.uid(root)
    handles = [_filled(text.encode()) for text in (_passwd(uid), f"agent:x:{uid}:\n")]
    arguments = [
        *way.namespaces(),
        *([] if network else ["--unshare-net"]),
        *("--die-with-parent", "--new-session", "--hostname", "workspace", "--clearenv"),
        *_tree(bounds.memory, network=network),
        *("--perms", "0444", "--ro-bind-data", str(handles[0]), "/etc/passwd"),
        *("--perms", "0444", "--ro-bind-data", str(handles[1]), "/etc/group"),
        *("--bind", str(root.resolve()), INSIDE),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--chdir", f"{INSIDE}/{cwd}" if cwd else INSIDE),
        *("--json-status-fd", str(report)),
    ]
    for name, value in (ENVIRONMENT | dict(env)).items():
        arguments += ["--setenv", name, value]
    if rules := seccomp.program():
        handles.append(_filled(rules))
        arguments += ["--seccomp", str(handles[-1])]
    handles.append(_filled(b"".join(os.fsencode(word) + b"\0" for word in arguments)))
    inside = [*way.dropping(root), *limiting(bounds, processes=bounds.processes), *command]
    argv = [_program("bwrap"), "--args", str(handles[-1]), "--", *inside]
    return Confined(argv, tuple(handles))


def limiting(bounds: Bounds, *, processes: int | None = None) -> list[str]:
    """The command in front of a command that sets its limits.

    DATA and not AS: what is merely reserved (by V8, the JVM, Go) costs nothing and is not counted.
    """
    limits = {
        "data": bounds.memory,
        "fsize": bounds.file_size,
        "cpu": bounds.processor,
        "core": 0,
        "nofile": 256,
        "memlock": 64 * 1024,
        "msgqueue": 0,
        "nproc": processes,
    }
    shown = [f"--{name}={value}" for name, value in limits.items() if value is not None]
    return [_program("prlimit"), *shown, "--", _program("nice"), "-n", "10", "--"]


def _tree(memory: int, *, network: bool) -> Iterator[str]:
    """The file system: mounts in order, each below the one before."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        place = Path("/", name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.is_dir():
            yield from ("--ro-bind", str(place), str(place))
    shown = ["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"]
    if network:
        shown += ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/nsswitch.conf"]
    for hidden in _ours_in_usr():
        yield from ("--size", "4096", "--tmpfs", hidden, "--remount-ro", hidden)
    yield from ("--dir", "/etc")
    for place in map(Path, shown):
        if place.exists():
            yield from ("--ro-bind", str(place.resolve()), str(place))
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder, size in (("/dev/shm", memory // 8), (HOME, memory // 4)):  # noqa: S108
        yield from ("--perms", "1777", "--size", str(size), "--tmpfs", folder)


def _ours_in_usr() -> list[str]:
    """Folders of this installation that would be seen below /usr (an image may keep it in /usr/src)."""
    usr = Path("/usr").resolve()
    places = (Path(place).resolve() for place in (settings.DATA_DIR, settings.BASE_DIR))
    return sorted(str(place) for place in places if usr in place.parents and place.is_dir())


def _passwd(uid: int) -> str:
    return f"agent:x:{uid}:{uid}:agent:{HOME}:/bin/bash\n"


def _filled(content: bytes) -> int:
    """A descriptor that `content` can be read from."""
    handle = os.memfd_create("polymux", os.MFD_CLOEXEC)
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


@cache
def _program(name: str) -> str:
    return shutil.which(name, path=SEARCHED) or name


# --- Does it work here? -----------------------------------------------------------------------

_lock = threading.Lock()


def can_confine() -> str:
    """Why commands cannot be shut in on this machine; empty when they can. Tried once a process."""
    return found_way()[1]


def found_way() -> tuple[Way | None, str]:
    """The way that works here, or None and the reason; tried once a process."""
    with _lock:
        return _found_way()


@cache
def _found_way() -> tuple[Way | None, str]:
    for name, package in PROGRAMS.items():
        if shutil.which(name, path=SEARCHED) is None:
            return None, f"{name} is not installed (package {package})"
    said = ""
    for way in WAYS:
        if way.own_uid and os.geteuid() != 0:
            continue
        reason = _why_not(way)
        if not reason:
            return way, ""
        said = said or reason
    return None, said


def _why_not(way: Way) -> str:
    if not way.own_uid and os.geteuid() == 0 and _is_root_of_the_machine():
        return "root may not change to another user here, and its own processes cannot be counted"
    with tempfile.TemporaryDirectory(prefix="polymux-") as folder:
        root = Path(folder)
        try:
            way.prepare(root)
            done = _tried(way, root)
        except (OSError, subprocess.SubprocessError) as error:
            return f"bubblewrap cannot be tried: {error}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"bubblewrap ends with {done.returncode}"


def _tried(way: Way, root: Path) -> subprocess.CompletedProcess[bytes]:
    """A command that writes into the folder, shut in."""
    bounds = Bounds(2**28, 32, 2**20, 10)
    with Path(os.devnull).open("wb") as report:
        made = confine(
            way,
            root,
            ["bash", "-c", "echo > tried"],
            bounds,
            env={},
            cwd="",
            network=False,
            report=report.fileno(),
        )
        try:
            return subprocess.run(  # noqa: S603  (our own words)
                made.argv,
                pass_fds=(*made.inherited, report.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={},
                timeout=_PROBE_SECONDS,
                check=False,
            )
        finally:
            made.close()


def _is_root_of_the_machine() -> bool:
    """False in a user namespace (a rootless container), where this root is somebody else outside."""
    try:
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split() == _WHOLE_MAP
    except OSError:
        return True
