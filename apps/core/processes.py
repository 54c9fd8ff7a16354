"""What the processes below one process take, read from /proc. A process that is gone takes nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 4096  # processes looked at
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def family_of(pid: int) -> list[int]:
    """`pid` and all below it. Orphans in a pid namespace belong to its first process: none is missed."""
    found, waiting = [pid], [pid]
    while waiting and len(found) < MOST:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            text = _read(f"{pid}/task/{thread.name}/children")
            found += [int(word) for word in text.split()]
    return found


def memory_of(pids: Iterable[int], enough: int) -> int:
    """Bytes of memory these processes hold.

    Up to `enough` by the cheap figure, which counts shared pages for each that maps them; only beyond
    it by the exact one.
    """
    pids = list(pids)
    quick = sum(_resident(pid) for pid in pids)
    return quick if quick <= enough else sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    words = _read(f"{pid}/statm").split()
    return int(words[1]) * _PAGE if len(words) > 1 else 0


def _proportional(pid: int) -> int:
    return _field(_read(f"{pid}/smaps_rollup"), "Pss:") * 1024


def written_by(pids: Iterable[int]) -> int:
    """Bytes these processes, and those they have outlived, sent towards a disk."""
    return sum(_field(_read(f"{pid}/io"), "write_bytes:") for pid in pids)


def kill_marked(mark: str) -> None:
    """SIGKILL to every process of ours with `mark` in its environment."""
    wanted = mark.encode()
    for place in _PROC.iterdir():
        if not place.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _read(path: str) -> str:
    try:
        return (_PROC / path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
