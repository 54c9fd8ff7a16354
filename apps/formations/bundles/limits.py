"""How much a bundle may be (reliability.md §B5)."""

from __future__ import annotations

from dataclasses import dataclass

MiB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, but for `entries` (files and folders), `ratio`, `depth` (folders) and `path` (characters).

    `slack` is what may be unpacked whatever the ratio: a small file of spaces is no bomb.
    """

    packed: int = 100 * MiB
    unpacked: int = 256 * MiB
    file: int = 64 * MiB
    entries: int = 5_000
    ratio: int = 100
    slack: int = 16 * MiB
    depth: int = 20
    path: int = 500
    extension: int = 256 * 1024  # of a header that carries a long name


USUAL = Limits()

# Of what `read` takes as text.
LARGEST_TEXT = 1 * MiB  # bytes of one file
MOST_TEXT = 16 * MiB  # bytes of all of them
