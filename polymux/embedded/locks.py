"""Advisory locks on files (`flock`): the kernel gives them back when their holder dies, however."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LockBusy(TimeoutError):
    """Somebody else has held the lock for the whole time we were ready to wait."""


class FileLock:
    """One lock on one file. Children started with `subprocess` do not inherit it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def _try(self, operation: int) -> bool:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take_alone(self) -> bool:
        """Hold it exclusively, now or not at all. A shared hold may become an exclusive one."""
        return self._try(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Hold it together with others, now or not at all."""
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Hold it exclusively for the block; `LockBusy` when it is not free within `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.take_alone():
            if time.monotonic() > deadline:
                self.release()
                raise LockBusy(f"{self.path} is held by another process")
            time.sleep(0.05)
        try:
            yield
        finally:
            self.release()
