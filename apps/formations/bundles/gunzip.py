"""A gzip stream read with a hand on the tap: what comes in and what comes out are both counted.

One member, ended properly, and nothing behind it but zeros (tape blocks). Nothing is believed that
the archive says about its own size.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from apps.formations.bundles.errors import BundleError, BundleTooLarge

if TYPE_CHECKING:
    from apps.formations.bundles.limits import Limits

CHUNK = 64 * 1024  # bytes
_WITH_GZIP_HEADER = 31  # zlib's word for a window of 32 KiB in a gzip wrapper


class Readable(Protocol):
    """What an archive comes from: a file, or anything that reads like one."""

    def read(self, size: int, /) -> bytes: ...


class Gunzip:
    """`read(n)` gives exactly n bytes of the unpacked stream; `finish()` reads it to its end."""

    def __init__(self, packed: Readable, limits: Limits) -> None:
        self._packed = packed
        self._limits = limits
        self._inflate = zlib.decompressobj(_WITH_GZIP_HEADER)
        self._ready = b""
        self.taken = 0  # bytes of the packed stream
        self.given = 0  # bytes it became

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; at most `CHUNK` may be asked for. BundleError when the stream is short."""
        parts = []
        while size:
            if not self._ready:
                self._ready = self._more()
                if not self._ready:
                    raise _damaged("The archive ends in the middle of a file: it was cut off.")
            part, self._ready = self._ready[:size], self._ready[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Read what is left: the checksum stands at the end, and nothing may hide behind it."""
        self._ready = b""
        while self._more():
            pass
        behind = self._inflate.unused_data or self._take()
        while behind:
            if behind.strip(b"\0"):
                raise _damaged("Something stands behind the end of the archive.")
            behind = self._take()

    def _more(self) -> bytes:
        """The next piece of the unpacked stream; empty when it has ended properly."""
        while not self._inflate.eof:
            piece = self._inflate.unconsumed_tail or self._take()
            try:
                made = self._inflate.decompress(piece, CHUNK)
            except zlib.error:
                raise _damaged("The archive is no gzip file, or it is damaged.") from None
            self._count(len(made))
            if made:
                return made
            if not piece:
                raise _damaged("The archive is cut off: its gzip stream has no end.")
        return b""

    def _take(self) -> bytes:
        piece = self._packed.read(CHUNK)
        self.taken += len(piece)
        if self.taken > self._limits.packed:
            raise BundleTooLarge(
                "ExtractError", f"The archive is larger than {self._limits.packed} bytes."
            )
        return piece

    def _count(self, made: int) -> None:
        self.given += made
        if self.given > self._limits.unpacked:
            raise BundleTooLarge(
                "ExtractError", f"The archive unpacks to more than {self._limits.unpacked} bytes."
            )
        if self.given > self._limits.slack + self.taken * self._limits.ratio:
            raise BundleTooLarge(
                "ExtractError",
                f"The archive unpacks to more than {self._limits.ratio} times its size.",
            )


def _damaged(words: str) -> BundleError:
    return BundleError("ExtractError", words)
