"""A bar on a terminal; on anything else one line, when it is done."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.core.management.base import OutputWrapper

WIDTH = 30
OFTEN = 0.1  # seconds between two drawings


@contextmanager
def progress(out: OutputWrapper, words: str) -> Iterator[Callable[[int, int], None]]:
    """Yields `told(done, of)`, to be called as often as one likes: it draws when it is time.

    `of` 0: nobody knows how much it will be. After an error the bar stays where it was.
    """
    bar = _Bar(out, words)
    try:
        yield bar.draw
    except BaseException:
        bar.leave()
        raise
    bar.finish()


class _Bar:
    def __init__(self, out: OutputWrapper, words: str) -> None:
        self._out = out
        self._words = words
        self._drawn = 0.0  # when; 0: not yet
        self._at = (0, 0)

    def draw(self, done: int, of: int) -> None:
        self._at = (done, of)
        if self._out.isatty() and time.monotonic() - self._drawn >= OFTEN:
            self._drawn = time.monotonic()
            self._show()

    def finish(self) -> None:
        if not self._out.isatty():
            self._out.write(f"{self._words}: done")
            return
        whole = max(self._at)
        self._at = (whole, whole)
        self._show()
        self._out.write("")

    def leave(self) -> None:
        """What comes next stands on a line of its own."""
        if self._drawn:
            self._out.write("")

    def _show(self) -> None:
        done, of = self._at
        full = WIDTH * done // of if of else 0
        told = f"{100 * done // of:3d} %" if of else str(done)
        self._out.write(f"\r{self._words} [{'#' * full:.<{WIDTH}}] {told}", ending="")
        self._out.flush()
