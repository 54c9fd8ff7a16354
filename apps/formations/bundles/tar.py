"""The tar format, as much of it as bundles need: ustar headers, long names of GNU tar and of pax.

Our own reader, since the standard library's has let archives write outside on several Pythons and
loops on headers with a negative size (reliability.md §B5, 41-42). It reads a stream once, forward;
every header counts; a size is a limit, never an allocation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.formations.bundles.errors import BundleError, BundleTooLarge
from apps.formations.bundles.gunzip import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apps.formations.bundles.gunzip import Gunzip
    from apps.formations.bundles.limits import Limits

BLOCK = 512
_EMPTY = b"\0" * BLOCK
_FILES = {b"0", b"\0"}
_FOLDER, _GNU_NAME, _PAX, _PAX_GLOBAL = b"5", b"L", b"x", b"g"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
# A pax record that changes what a file is or holds. Others (times, owners, attributes) say nothing to us.
_PAX_REFUSED = re.compile(rb"GNU\.sparse\.|SCHILY\.realsize|hdrcharset")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder. `name` is as the archive spells it: check it before use."""

    name: bytes
    folder: bool
    size: int
    executable: bool


class Tar:
    """Iterate for the entries; take each file's bytes with `content` before the next, or not at all."""

    def __init__(self, stream: Gunzip, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._headers = 0
        self._left = 0  # bytes of the entry that nobody has taken
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """Raises BundleError where the archive is damaged or holds anything but files and folders."""
        said: dict[bytes, bytes] = {}  # what extension headers say about the next entry
        while (header := self._header()) is not None:
            kind, size = header[156:157], _size(header[124:136])
            if kind in {_GNU_NAME, _PAX, _PAX_GLOBAL}:
                text = self._extension(size)
                if kind == _GNU_NAME:
                    said[b"path"] = text.rstrip(b"\0")
                elif kind == _PAX:
                    said |= _pax_records(text)
                continue
            entry = self._entry(header, kind, said, size)
            said = {}
            self._expect(entry.size)
            yield entry
            self._skip()
        self._stream.finish()

    def content(self) -> Iterator[bytes]:
        """The bytes of the entry at hand, in pieces."""
        while self._left:
            piece = self._stream.read(min(self._left, CHUNK))
            self._left -= len(piece)
            yield piece

    def _header(self) -> bytes | None:
        """The next header block; None at the end of the archive."""
        block = self._stream.read(BLOCK)
        if block == _EMPTY:
            return None
        self._headers += 1
        if self._headers > 2 * self._limits.entries + 2:  # each may have an extension
            raise BundleTooLarge("ExtractError", "The archive has too many headers.")
        if not _adds_up(block):
            raise BundleError("ExtractError", "The archive is no tar file, or it is damaged.")
        return block

    def _extension(self, size: int) -> bytes:
        if size > self._limits.extension:
            raise BundleTooLarge("ExtractError", "The archive has a header that is too long.")
        self._expect(size)
        text = b"".join(self.content())
        self._skip()
        return text

    def _entry(self, header: bytes, kind: bytes, said: dict[bytes, bytes], size: int) -> Entry:
        name = said.get(b"path") or _plain_name(header)
        if kind not in _FILES and kind != _FOLDER:
            what = _REFUSED.get(kind, "of a kind that bundles do not have")
            raise BundleError("ExtractError", f"{shown(name)} is {what}.")
        if b"size" in said:
            size = _decimal(said[b"size"])
        # Old archives write a folder as a file whose name ends with a slash.
        folder = kind == _FOLDER or name.endswith(b"/")
        return Entry(name, folder, 0 if folder else size, bool(_size(header[100:108]) & 0o100))

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _skip(self) -> None:
        for _ in self.content():
            pass
        self._stream.read(self._padding)
        self._padding = 0


def shown(name: bytes) -> str:
    """A name out of the archive, fit for a message."""
    text = name[:120].decode("utf-8", "replace")
    return repr("".join(char if char.isprintable() else "?" for char in text))


def _plain_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    # GNU's own format keeps other things where ustar has the prefix.
    is_ustar = header[257:263] == b"ustar\0"
    return prefix + b"/" + name if is_ustar and prefix else name


def _adds_up(block: bytes) -> bool:
    """The checksum counts its own field as spaces. Some old writers summed signed bytes."""
    around = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(around)
    signed = unsigned - 256 * sum(byte > 127 for byte in around)
    return _size(block[148:156]) in {unsigned, signed}


def _size(field: bytes) -> int:
    """A number of a header: octal digits, or GNU's binary form for what they cannot hold."""
    if field[0] & 0x80:
        if field[0] != 0x80:  # negative, or beyond any disk
            raise BundleError("ExtractError", "The archive has a size that cannot be.")
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if re.fullmatch(rb"[0-7]*", digits) is None:
        raise BundleError("ExtractError", "The archive has a number that is none: it is damaged.")
    return int(digits or b"0", 8)


def _decimal(digits: bytes) -> int:
    if re.fullmatch(rb"[0-9]{1,18}", digits) is None:
        raise BundleError("ExtractError", "The archive has a size that cannot be.")
    return int(digits)


def _pax_records(text: bytes) -> dict[bytes, bytes]:
    """Lines of `<length> <key>=<value>`; only the keys that matter are kept."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text) and text[at : at + 1] != b"\0":
        match = re.compile(rb"([0-9]{1,7}) ([^=\n]+)=").match(text, at)
        end = at + int(match[1]) if match else 0
        if match is None or end <= match.end() or text[end - 1 : end] != b"\n":
            raise BundleError("ExtractError", "The archive has a damaged extended header.")
        if _PAX_REFUSED.match(match[2]):
            raise BundleError("ExtractError", "The archive has a sparse file or a foreign charset.")
        if match[2] in {b"path", b"size"}:
            found[match[2]] = text[match.end() : end - 1]
        at = end
    return found
